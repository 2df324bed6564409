"""Write to standard output, to standard error and to files."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from comparison.answers import UsageError
from comparison.shown import shown


def say(write: Callable[[], object]) -> None:
    """Run what writes to standard output; raises UsageError where that is impossible.

    A reader, such as `head`, that has seen enough is no error.
    """
    if sys.stdout is None:
        message = "standard output is closed"
        raise UsageError(message)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        write()
        sys.stdout.flush()
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
    """Write a file as a whole or not at all, and say where; raises UsageError."""
    try:
        path = Path(name)
        if path.exists() and not path.is_file():  # A device, or a pipe.
            path.write_text(text, encoding="utf-8")
            return
        path = Path(os.path.realpath(path))
        with tempfile.TemporaryDirectory(prefix=".compare-", dir=path.parent) as beside:
            whole = Path(beside, "whole")
            whole.write_text(text, encoding="utf-8")
            if path.exists():
                shutil.copymode(path, whole)
            whole.replace(path)
    except OSError as error:
        message = f"{name or 'an empty name'}: {error.strerror}"
        raise UsageError(message) from error
    tell(f"Wrote {path}")
