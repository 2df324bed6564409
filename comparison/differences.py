"""The files that differ, and those that a new render would leave behind."""

import difflib
import io
import shlex
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from comparison.rendering import render
from comparison.sides import Side, files_of

KINDS = {
    **dict.fromkeys(["--- a/", "--- /dev/null", "+++ b/", "+++ /dev/null"], "head"),
    "@@": "hunk",
    "+": "plus",
    "-": "minus",
}


@dataclass(frozen=True)
class FileDifference:
    """A file that differs: in its content, or because one side does not have it."""

    path: str
    status: str
    diff: tuple[str, ...]


@dataclass(frozen=True)
class Differences:
    """All differences between two projects.

    `own` are files of a person's own, which rendering does not touch. Where A is a
    folder, `left_behind` are files that its answers rendered and those of B do not,
    and `remove_command` removes them.
    """

    files: tuple[FileDifference, ...]
    left_behind: tuple[str, ...]
    remove_command: str
    own: tuple[str, ...]


class File(NamedTuple):
    """The content of a file, and its mode as git has it."""

    content: bytes
    mode: str


def differences(left: tuple[Side, Path], right: tuple[Side, Path]) -> Differences:
    """Compare the files of two projects, each given with its side."""
    (side, mine), (other, theirs) = left, right
    left_files, right_files = files_of(mine), files_of(theirs)
    rendered_left = rendered_files(side, left_files)
    rendered_right = rendered_files(other, right_files)
    known = rendered_left | rendered_right
    present = left_files | right_files
    found = [difference(name, mine, theirs) for name in sorted(present & known)]
    stale = (rendered_left & left_files) - rendered_right if side.folder else set()
    left_behind = sorted(stale)
    remove = ["git", "-C", str(mine), "rm", "--", *left_behind]
    return Differences(
        files=tuple(each for each in found if each is not None),
        left_behind=tuple(left_behind),
        remove_command=shlex.join(remove) if left_behind else "",
        own=tuple(sorted(present - known)),
    )


def rendered_files(side: Side, present: set[str]) -> set[str]:
    """Return the files that the answers of a side render.

    For a folder: those that its answers render, and those that the committed ones did.
    """
    if not side.folder:
        return present
    with tempfile.TemporaryDirectory() as scratch:
        rendered = files_of(render(side.answers, Path(scratch, "now")))
        if side.previous and side.previous != side.answers:
            rendered |= files_of(render(side.previous, Path(scratch, "before")))
    return rendered


def difference(name: str, left: Path, right: Path) -> FileDifference | None:
    """Compare one file; return None where it is the same."""
    mine, theirs = read_file(left / name), read_file(right / name)
    if mine == theirs:
        return None
    status = "changed" if mine and theirs else "only in A" if mine else "only in B"
    return FileDifference(name, status, tuple(diff(name, mine, theirs)))


def read_file(path: Path) -> File | None:
    """Return a file, or None where there is none."""
    if not path.is_file():
        return None
    executable = path.stat().st_mode & stat.S_IXUSR
    return File(path.read_bytes(), "100755" if executable else "100644")


def diff(name: str, mine: File | None, theirs: File | None) -> Iterator[str]:
    """Yield what git says about a file that differs, or that only one side has."""
    old = f"a/{name}" if mine else "/dev/null"
    new = f"b/{name}" if theirs else "/dev/null"
    if mine and theirs and mine.mode != theirs.mode:
        yield f"diff --git {old} {new}"
        yield f"old mode {mine.mode}"
        yield f"new mode {theirs.mode}"
    for line in difflib.unified_diff(lines_of(mine), lines_of(theirs), old, new):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def lines_of(file: File | None) -> list[str]:
    """Return the lines of a file, each but the last with its newline.

    What is no text in UTF-8 stays as Python keeps it: as surrogates.
    """
    content = io.BytesIO(file.content if file else b"")
    return [line.decode(errors="surrogateescape") for line in content]


def kind_of(line: str) -> str:
    """Return what a line of a diff is, or nothing where no side differs."""
    return next((kind for mark, kind in KINDS.items() if line.startswith(mark)), "")
