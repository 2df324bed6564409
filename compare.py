# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cookiecutter>=2.7.1", "jinja2>=3.1.5", "pyyaml>=6.0.2", "rich>=14.0",
#     "ruamel.yaml>=0.18.6",
# ]
# ///
"""Compare what this template renders for two environments: `uv run compare.py A B`.

A and B are each a preset (`production-neon`), an answers file (a service's own
`.cookiecutter.yaml`), a rendered project's folder, or answers (`database=neon,pool=auto`).
Answers may follow each of the others: `../my-service,database=neon`.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from comparison.answers import UsageError, problems, read_answers
from comparison.comparison import compare, count
from comparison.output import say, tell, write_file
from comparison.page import page
from comparison.shown import shown
from comparison.sides import PRESETS
from comparison.terminal import console_for_output, picture, write

FOUND = 1
USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message)

    def print_help(self, _file: object = None) -> None:
        """Write the help to standard output."""
        say(lambda: print(self.format_help(), end=""))


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; raises UsageError if it is wrong."""
    parser = Parser(
        prog="compare.py",
        description="Compare what this template renders for two environments.",
        epilog="A and B are each a preset (" + ", ".join(PRESETS) + "), an"
        " answers file, a rendered project's folder, or key=value,key=value."
        " Answers may follow each of the others: production-neon,pool=nullpool",
    )
    add, flag = parser.add_argument, partial(parser.add_argument, action="store_true")
    add("sides", nargs="*", metavar="A B", help="what to compare")
    add("--html", metavar="FILE", help="write it as one HTML page")
    add("--svg", metavar="FILE", help="write the table as a picture")
    flag("--json", help="print it as JSON")
    flag("--table", help="print the table alone, without the diff of the files")
    flag("--only-differences", help="leave out the decisions that are the same")
    flag("--exit-code", help="exit with 1 if a file differs, as git diff does")
    checks = "check an answers file, and exit with 1 if Cookiecutter would drop one"
    add("--check", metavar="FILE", help=checks)
    options = parser.parse_args(arguments)
    if options.check is not None:
        if options.sides:
            parser.error("--check takes one file, and no A and B")
    elif len(options.sides) != len("AB"):
        given = " ".join(options.sides) or "nothing"
        parser.error(f"needs two sides, A and B, but was given {given} (see --help)")
    if options.json and options.table:
        parser.error("--json prints all, and --table the table alone: keep one")
    return options


def check(file: str) -> int:
    """Check an answers file, and return the exit code."""
    try:
        answers = read_answers(Path(file))
    except UsageError as error:
        found = [str(error)]
    else:
        found = problems(answers)
    for problem in found:
        tell(f"{file}: {problem}")
    if found:
        return FOUND
    taken = f"{count(len(answers), 'answer')}, and Cookiecutter takes each of them."
    say(lambda: print(shown(f"{file}: {taken}")))
    return 0


def compare_sides(options: argparse.Namespace) -> int:
    """Compare two sides, write the result as asked for, and return the exit code."""
    comparison = compare(*options.sides, differing_only=options.only_differences)
    if options.html is not None:
        write_file(options.html, page(comparison))
    if options.svg is not None:
        title = f"uv run compare.py {comparison.left} {comparison.right} --table"
        title += " --only-differences" * options.only_differences
        write_file(options.svg, picture(comparison, title))
    if options.json:
        say(lambda: print(json.dumps(comparison.as_data(), indent=2)))
    elif options.table or (options.html is None and options.svg is None):
        only = options.table
        say(lambda: write(comparison, console_for_output(), table_only=only))
    return FOUND if options.exit_code and not comparison.same else 0


def main(arguments: list[str]) -> int:
    """Do what the command line asks for, and return the exit code."""
    try:
        options = read_arguments(arguments)
        if options.check is not None:
            return check(options.check)
        return compare_sides(options)
    except UsageError as error:
        tell(f"compare.py: {error}")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        tell(f"compare.py: {place}{error.strerror or error}")
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
