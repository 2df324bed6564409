"""The table of decisions: what the answers of each side lead to.

Nothing is read from a rendered service, so what a person edited shows in the diff of
the files. The tests hold every row against the rendered service of every variant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from comparison.answers import Answers
from comparison.round_trips import round_trips, with_tls
from comparison.yaml_text import read_yaml

ROWS: dict[str, dict[str, str | dict[str, str]]] = read_yaml(
    Path(__file__).with_name("decisions.yaml").read_text(encoding="utf-8")
)
CHOICES = ("database", "__pool", "driver")
ABSENT = "-"


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
    for section, name in mine:
        a, b = mine[section, name], theirs[section, name]
        if a or b:
            yield Decision(section, name, a or ABSENT, b or ABSENT, a == b)


def table(answers: Answers) -> dict[tuple[str, str], str]:
    """Return the text of each row, by section and name; empty if it has none here."""
    costs = round_trips(answers)
    values = {
        name: with_tls(cost, costs.connect) for name, cost in costs._asdict().items()
    }
    return {
        (section, name): text(row, answers, values)
        for section, rows in ROWS.items()
        for name, row in rows.items()
    }


def text(row: str | dict[str, str], answers: Answers, costs: dict[str, str]) -> str:
    """Render a row, or its text for the answer that it has texts for."""
    if isinstance(row, dict):
        row = next((row[answers[name]] for name in CHOICES if answers[name] in row), "")
    template = Environment(undefined=StrictUndefined).from_string(row)  # noqa: S701 (no page)
    return template.render(cookiecutter=answers, round_trips=costs).strip()
