# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cookiecutter>=2.7.1", "jinja2>=3.1.5", "pyyaml>=6.0.2", "rich>=14.0",
#     "ruamel.yaml>=0.18.6",
# ]
# ///
"""Compare what this template renders for two environments.

A and B are each a preset, an answers file (a service's own .cookiecutter.yaml), a
rendered service's folder, or answers. Answers may follow each of the others:

    uv run compare.py local-postgres production-neon --table
    uv run compare.py ../my-service ../my-service,database=neon
    uv run compare.py database=neon,pool=nullpool database=neon,pool=queuepool
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from comparison import UsageError
from comparison.answers import problems, read_answers
from comparison.comparison import compare, count
from comparison.output import say, shown, tell, write_file
from comparison.page import page
from comparison.sides import PRESETS
from comparison.terminal import picture, printed

FOUND = 1
USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message)


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; raises UsageError if it is wrong."""
    parser = Parser(
        prog="compare.py",
        description=__doc__,
        epilog=f"The presets are {', '.join(PRESETS)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sides", nargs="*", metavar="A B", help="what to compare")
    parser.add_argument("--html", metavar="FILE", help="write it as one HTML page")
    parser.add_argument("--svg", metavar="FILE", help="write the table as a picture")
    one_of = parser.add_mutually_exclusive_group()
    checks = "check an answers file, and exit with 1 if Cookiecutter would drop one"
    one_of.add_argument("--check", metavar="FILE", help=checks)
    flag = partial(one_of.add_argument, action="store_true")
    flag("--json", help="print it as JSON")
    flag("--table", help="print the table alone, without the diff of the files")
    flag = partial(parser.add_argument, action="store_true")
    flag("--only-differences", help="leave out the decisions that are the same")
    flag("--exit-code", help="exit with 1 if a file differs, as git diff does")
    options = parser.parse_args(arguments)
    given = " ".join(options.sides) or "nothing"
    if options.check is not None and options.sides:
        parser.error(f"--check takes one file, and no {given}")
    if options.check is None and len(options.sides) != len("AB"):
        parser.error(
            f"needs two sides, A and B, but was given {given};"
            " a comma joins answers: database=neon,pool=nullpool (see --help)"
        )
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
    say(shown(f"{file}: {taken}"))
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
        say(json.dumps(comparison.as_data(), indent=2))
    elif options.table or (options.html is None and options.svg is None):
        say(printed(comparison, table_only=options.table))
    return FOUND if options.exit_code and not comparison.same else 0


def main(arguments: list[str]) -> int:
    """Do what the command line asks for, and return the exit code."""
    try:
        options = read_arguments(arguments)
        if options.check is not None:
            return check(options.check)
        return compare_sides(options)
    except (UsageError, OSError) as error:
        tell(f"compare.py: {error}")
        return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
