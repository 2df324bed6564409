"""The table of decisions: what the answers of each side lead to.

Nothing is read from a rendered service, so what a person edited shows in the diff of
the files. The tests hold every row against the rendered service of every variant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from comparison.answers import Answers
from comparison.round_trips import round_trips
from comparison.yaml_text import read_yaml

TEXTS: dict[str, dict[str, Any]] = read_yaml(
    Path(__file__).with_name("decisions.yaml").read_text(encoding="utf-8")
)
EVERY_SERVICE = "every service"
CHOICES = ("database", "__pool", "driver")
ABSENT = "-"

Table = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Decision:
    """One line of the table: what each side does about the same thing."""

    section: str
    name: str
    a: str
    b: str
    same: bool


def decisions(left: Answers, right: Answers) -> Iterator[Decision]:
    """Yield what two sides decided, given the complete answers of each."""
    mine, theirs = table(left), table(right)
    for section in mine:
        for name in mine[section] | theirs[section]:
            a, b = mine[section].get(name), theirs[section].get(name)
            if a or b:
                yield Decision(section, name, a or ABSENT, b or ABSENT, a == b)


def table(answers: Answers) -> Table:
    """Return the text of each row, by section and name; empty if it has none here."""
    environment = Environment(undefined=StrictUndefined)  # noqa: S701 (no page)
    values = {"cookiecutter": answers, "round_trips": round_trips(answers).texts()}

    def rendered(text: str | None) -> str:
        return environment.from_string(text or "").render(values).strip()

    return {
        section: {name: rendered(text) for name, text in rows.items()}
        for section, rows in rows_for(answers).items()
    }


def rows_for(answers: Answers) -> dict[str, dict[str, str | None]]:
    """Return the rows of every service, with those of the answers' blocks."""
    rows: dict[str, dict[str, str | None]] = {}
    chosen = [TEXTS[choice][answers[choice]] for choice in CHOICES]
    for block in [TEXTS[EVERY_SERVICE], *chosen]:
        for section in block:
            rows.setdefault(section, {}).update(block[section])
    return rows
