"""The files that differ, and those that a new render would leave behind."""

import difflib
import io
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comparison.rendering import render
from comparison.shown import command
from comparison.sides import Side, files_of


@dataclass(frozen=True)
class FileDifference:
    """A file that differs: in its content, or because one side does not have it."""

    path: str
    status: str
    diff: tuple[str, ...]


@dataclass(frozen=True)
class Differences:
    """All differences between two projects.

    `own` are files of a person's own, which rendering does not touch. `left_behind`
    are files that the answers of A rendered and those of B do not.
    """

    files: tuple[FileDifference, ...]
    left_behind: tuple[str, ...]
    own: tuple[str, ...]
    folder: Path | None

    @property
    def remove_command(self) -> str:
        """The command that removes what would be left behind."""
        where = ["-C", str(self.folder)] if self.folder else []
        return command("git", *where, "rm", "--", *self.left_behind)


def differences(left: tuple[Side, Path], right: tuple[Side, Path]) -> Differences:
    """Compare the files of two projects, each given with its side."""
    (side, mine), (other, theirs) = left, right
    left_files, right_files = files_of(mine), files_of(theirs)
    rendered_left = rendered_files(side, left_files)
    rendered_right = rendered_files(other, right_files)
    known = rendered_left | rendered_right
    present = left_files | right_files
    found = [difference(name, mine, theirs) for name in sorted(present & known)]
    return Differences(
        files=tuple(each for each in found if each is not None),
        left_behind=tuple(sorted((rendered_left & left_files) - rendered_right)),
        own=tuple(sorted(present - known)),
        folder=side.folder,
    )


def rendered_files(side: Side, present: set[str]) -> set[str]:
    """Return the files that the answers of a side render.

    For a folder: those that its answers render, and those that the committed ones did.
    """
    if not side.folder:
        return present
    with tempfile.TemporaryDirectory() as scratch:
        rendered = files_of(render(side.answers, Path(scratch, "now")))
        if side.previous is not None and side.previous != side.answers:
            rendered |= files_of(render(side.previous, Path(scratch, "before")))
    return rendered


def difference(name: str, left: Path, right: Path) -> FileDifference | None:
    """Compare one file; return None where it is the same."""
    mine, theirs = read_file(left / name), read_file(right / name)
    if mine == theirs:
        return None
    missing = {mine is None: "only in B", theirs is None: "only in A"}
    status = missing.get(True, "changed")
    return FileDifference(name, status, tuple(diff(name, mine, theirs)))


def read_file(path: Path) -> tuple[bytes, str] | None:
    """Return the content of a file and its mode, as git has it."""
    if not path.is_file():
        return None
    executable = path.stat().st_mode & stat.S_IXUSR
    return path.read_bytes(), "100755" if executable else "100644"


def diff(
    name: str, mine: tuple[bytes, str] | None, theirs: tuple[bytes, str] | None
) -> Iterator[str]:
    """Yield what git says about a file that differs, or that only one side has."""
    old = f"a/{name}" if mine else "/dev/null"
    new = f"b/{name}" if theirs else "/dev/null"
    if mine and theirs and mine[1] != theirs[1]:
        yield from (
            f"diff --git {old} {new}",
            f"old mode {mine[1]}",
            f"new mode {theirs[1]}",
        )
    before, after = (each[0] if each else b"" for each in (mine, theirs))
    try:
        left, right = lines_of(before), lines_of(after)
    except UnicodeDecodeError:
        yield from [f"Binary files {old} and {new} differ"] * (before != after)
        return
    for line in difflib.unified_diff(left, right, old, new):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def lines_of(content: bytes) -> list[str]:
    """Return the lines of a text, each but the last with its newline.

    Raises UnicodeDecodeError for what is no text.
    """
    if b"\0" in content:
        raise UnicodeDecodeError("utf-8", content, 0, 1, "a text has no NUL")
    return [line.decode() for line in io.BytesIO(content)]
