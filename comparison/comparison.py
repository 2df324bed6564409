"""Everything that is known about two sides."""

import tempfile
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from comparison.answers import complete
from comparison.decisions import Decision, decisions
from comparison.differences import Differences, differences
from comparison.rendering import render
from comparison.sides import read_side, share_names


@dataclass(frozen=True)
class Comparison:
    """The names of both sides, the table of decisions, and the files that differ."""

    left: str
    right: str
    decisions: tuple[Decision, ...]
    differences: Differences

    @property
    def same(self) -> bool:
        """Tell whether the two sides are the same, file by file."""
        return not self.differences.files

    @property
    def sections(self) -> dict[str, list[Decision]]:
        """The decisions by section, in their order."""
        return {
            section: list(rows)
            for section, rows in groupby(self.decisions, attrgetter("section"))
        }

    @property
    def summary(self) -> str:
        """Say in one line how much differs."""
        if self.same:
            return "No file differs."
        differing = sum(not decision.same for decision in self.decisions)
        files = len(self.differences.files)
        return f"{count(differing, 'decision')} and {count(files, 'file')} differ."

    def as_data(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        found = self.differences
        return {
            "a": self.left,
            "b": self.right,
            "same": self.same,
            "decisions": [asdict(each) for each in self.decisions],
            "files": [asdict(each) for each in found.files],
            "left_behind": found.left_behind,
            "remove_command": found.remove_command or None,
            "own_files": found.own,
        }


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def compare(left: str, right: str, *, differing_only: bool = False) -> Comparison:
    """Compare two sides as a person names them; raises UsageError.

    With `differing_only`, the decisions that are the same are left out.
    """
    first, second = read_side(left), read_side(right)
    first, second = share_names(first, second), share_names(second, first)
    table = decisions(complete(first.answers), complete(second.answers))
    shown = [each for each in table if not (differing_only and each.same)]
    with tempfile.TemporaryDirectory() as scratch:
        mine = first.folder or render(first.answers, Path(scratch, "a"))
        theirs = second.folder or render(second.answers, Path(scratch, "b"))
        found = differences((first, mine), (second, theirs))
    return Comparison(left, right, tuple(shown), found)
