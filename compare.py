# /// script
# requires-python = ">=3.11"
# dependencies = ["cookiecutter>=2.7.1", "pyyaml>=6.0.2", "rich>=14.0"]
# ///
"""Compare what this template renders for two environments: `uv run compare.py A B`.

A and B are each a preset (`production-neon`), an answers file (a service's own
`.cookiecutter.yaml`), a rendered project's folder, or answers (`database=neon,pool=auto`).
Answers may follow each of the others: `../my-service,database=neon`.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from environments.answers import UsageError, problems, read_answers
from environments.comparison import Comparison, compare
from environments.page import page
from environments.sides import preset_names
from environments.terminal import console_for_output, picture, write

USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; exits with one line if it is wrong."""
    parser = Parser(
        prog="compare.py",
        description="Compare what this template renders for two environments.",
        epilog="A and B are each a preset (" + ", ".join(preset_names()) + "), an"
        " answers file, a rendered project's folder, or key=value,key=value."
        " Answers may follow each of the others: production-neon,pool=nullpool",
    )
    parser.add_argument("sides", nargs="*", metavar="A B", help="what to compare")
    parser.add_argument("--html", metavar="FILE", help="write it as one HTML page")
    parser.add_argument("--svg", metavar="FILE", help="write the table as a picture")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument(
        "--only-differences",
        action="store_true",
        help="leave out the decisions that are the same",
    )
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if a file differs, as git diff does",
    )
    parser.add_argument(
        "--check",
        metavar="FILE",
        help="check an answers file, and exit with 1 if Cookiecutter would drop one",
    )
    options = parser.parse_args(arguments)
    if options.check and options.sides:
        parser.error("--check takes one file, and no A and B")
    if not options.check and len(options.sides) != len("AB"):
        given = " ".join(options.sides) or "nothing"
        parser.error(f"needs two sides, A and B, but was given {given} (see --help)")
    return options


def check(path: Path) -> int:
    """Check an answers file, and return the exit code."""
    try:
        answers = read_answers(path)
    except UsageError as error:
        found = [str(error)]
    else:
        found = problems(answers)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    if not found:
        print(f"{path}: {len(answers)} answers, and Cookiecutter takes each of them.")
    return 1 if found else 0


def write_all(comparison: Comparison, options: argparse.Namespace) -> None:
    """Write the comparison in each form that was asked for."""
    if options.html:
        Path(options.html).write_text(page(comparison), encoding="utf-8")
    if options.svg:
        title = f"uv run compare.py {comparison.left} {comparison.right}"
        title += " --only-differences" * options.only_differences
        Path(options.svg).write_text(picture(comparison, title), encoding="utf-8")
    if options.json:
        print(json.dumps(comparison.as_data(), indent=2))
    elif not (options.html or options.svg):
        write(comparison, console_for_output())


def main(arguments: list[str]) -> int:
    """Do what the command line asks for, and return the exit code."""
    options = read_arguments(arguments)
    if options.check:
        return check(Path(options.check))
    try:
        comparison = compare(*options.sides, differing_only=options.only_differences)
        write_all(comparison, options)
        sys.stdout.flush()
    except UsageError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # The reader, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"compare.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return USAGE_ERROR
    return 1 if options.exit_code and not comparison.same else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
