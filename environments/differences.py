"""The files that differ, and those that a new render would leave behind."""

import difflib
import tempfile
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


def difference(name: str, left: Path, right: Path) -> FileDifference | None:
    """Compare one file; return None where it is the same."""
    mine, theirs = read_lines(left / name), read_lines(right / name)
    if mine == theirs:
        return None
    status = ONLY_RIGHT if mine is None else ONLY_LEFT if theirs is None else CHANGED
    lines = difflib.unified_diff(
        mine or [],
        theirs or [],
        "/dev/null" if mine is None else f"a/{name}",
        "/dev/null" if theirs is None else f"b/{name}",
        lineterm="",
    )
    plain = (NO_NEWLINE if line[1:] == NO_NEWLINE else line for line in lines)
    return FileDifference(name, status, tuple(plain))


def read_lines(path: Path) -> list[str] | None:
    """Return the lines of a file, or None if there is none."""
    if not path.is_file():
        return None
    *lines, last = path.read_bytes().decode(errors="replace").split("\n")
    return [*lines, last, NO_NEWLINE] if last else lines
