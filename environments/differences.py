"""The files that differ, and those that a new render would leave behind."""

import difflib
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from environments.rendering import render
from environments.shown import command
from environments.sides import Side, files_of

NO_NEWLINE = "\\ No newline at end of file"
CHANGED, ONLY_LEFT, ONLY_RIGHT = "changed", "only in A", "only in B"


@dataclass(frozen=True)
class FileDifference:
    """A file that differs: in its content, or because one side does not have it."""

    path: str
    status: str
    lines: tuple[str, ...]


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
    own = (left_files | right_files) - known
    names = sorted((left_files | right_files) & known)
    found = [difference(name, mine, theirs) for name in names]
    return Differences(
        files=tuple(each for each in found if each is not None),
        left_behind=tuple(sorted((rendered_left & left_files) - rendered_right)),
        own=tuple(sorted(own)),
        folder=side.folder,
    )


def rendered_files(side: Side, present: set[str]) -> set[str]:
    """Return the files that the answers of a side render.

    For a folder: those that its answers render, and those that the committed ones did.
    """
    if not side.folder:
        return present
    with tempfile.TemporaryDirectory() as scratch:
        now = render(side.answers, Path(scratch, "now"))
        rendered = files_of(now)
        if side.previous is not None and side.previous != side.answers:
            rendered |= files_of(render(side.previous, Path(scratch, "before")))
    return rendered


@dataclass(frozen=True)
class File:
    """A file of one side, or its absence."""

    name: str
    content: bytes | None = None
    mode: str = ""

    @property
    def text(self) -> str | None:
        """The content as text, empty for an absent file, or None if it is binary."""
        content = self.content or b""
        try:
            return None if b"\0" in content else content.decode()
        except UnicodeDecodeError:
            return None


def difference(name: str, left: Path, right: Path) -> FileDifference | None:
    """Compare one file; return None where it is the same."""
    mine = read_file(left / name, f"a/{name}")
    theirs = read_file(right / name, f"b/{name}")
    if (mine.content, mine.mode) == (theirs.content, theirs.mode):
        return None
    if mine.content is None:
        status = ONLY_RIGHT
    else:
        status = ONLY_LEFT if theirs.content is None else CHANGED
    lines = (*changed_mode(mine, theirs), *changed_content(mine, theirs))
    return FileDifference(name, status, lines)


def read_file(path: Path, name: str) -> File:
    """Read a file, if there is one, and its mode, as git has it."""
    if not path.is_file():
        return File("/dev/null")
    executable = path.stat().st_mode & stat.S_IXUSR
    return File(name, path.read_bytes(), "100755" if executable else "100644")


def changed_mode(mine: File, theirs: File) -> Iterator[str]:
    """Yield what git says about a changed mode."""
    if mine.mode and theirs.mode and mine.mode != theirs.mode:
        yield f"diff --git {mine.name} {theirs.name}"
        yield f"old mode {mine.mode}"
        yield f"new mode {theirs.mode}"


def changed_content(mine: File, theirs: File) -> Iterator[str]:
    """Yield the diff of two files."""
    if mine.content == theirs.content:
        return
    if mine.text is None or theirs.text is None:
        yield f"Binary files {mine.name} and {theirs.name} differ"
        return
    left, right = lines_of(mine.text), lines_of(theirs.text)
    for line in difflib.unified_diff(left, right, mine.name, theirs.name):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield NO_NEWLINE


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, each but the last with its newline."""
    return [line for line in re.split(r"(?<=\n)", text) if line]
