"""Write to standard output, to standard error and to files."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from comparison import UsageError

LINES_AND_TABS = "\n\t"


def say(text: str) -> None:
    """Print a text; raises UsageError where that is impossible.

    A reader, such as `head`, that has seen enough is no error.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except OSError as error:
        # Python writes once more what is left, when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            message = f"standard output: {error.strerror}"
            raise UsageError(message) from error


def tell(text: str) -> None:
    """Write one line to standard error."""
    print(shown(text), file=sys.stderr)


def write_file(name: str, text: str) -> None:
    """Write a file, and say where; raises UsageError."""
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{name or 'an empty name'}: cannot be written: {error.strerror}"
        raise UsageError(message) from error
    tell(f"Wrote {Path(name).absolute()}")


def shown(text: str, keep: str = "") -> str:
    """Write what a terminal obeys, or cannot show, as Python does in a string.

    A byte that is no text, which Python keeps as a surrogate, is shown as the byte.
    """
    return "".join(
        each
        if each.isprintable() or each in keep
        else repr(each)[1:-1].replace("\\udc", "\\x")
        for each in text
    )
