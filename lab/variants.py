"""The variants of the template, computed from cookiecutter.json."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
QUESTIONS: dict[str, Any] = json.loads(
    (ROOT / "cookiecutter.json").read_text(encoding="utf-8")
)
CHOICES: dict[str, list[str]] = {
    name: values for name, values in QUESTIONS.items() if isinstance(values, list)
}
TEXTS = [
    name
    for name, value in QUESTIONS.items()
    if isinstance(value, str) and not name.startswith("_")
]
SWITCHES = [name for name, value in QUESTIONS.items() if isinstance(value, bool)]
PUBLIC = [name for name in QUESTIONS if not name.startswith("_")]

FACTS: dict[str, Any] = QUESTIONS["_databases"]  # The facts of each.


@dataclass(frozen=True)
class Variant:
    """One combination of answers, and what follows from it."""

    database: str
    pool: str
    driver: str
    migrate_service: bool
    postgres_version: str = CHOICES["postgres_version"][0]
    python_version: str = CHOICES["python_version"][0]
    kubernetes: bool = False  # Its own tests render it.

    @property
    def answers(self) -> dict[str, object]:
        """Return the answers that lead to this variant."""
        return dict(vars(self))

    @property
    def id(self) -> str:
        """Return a name for test reports."""
        migrate = "migrate" if self.migrate_service else "nomigrate"
        kubernetes = "-kubernetes" if self.kubernetes else ""
        return f"{self.database}-{self.pool}-{self.driver}-{migrate}{kubernetes}"

    @property
    def pooled_endpoint(self) -> bool:
        """Tell whether requests go through a pooler."""
        return bool(FACTS[self.database]["pooler"])

    @property
    def local_database(self) -> bool:
        """Tell whether Compose runs the database."""
        return "db" in FACTS[self.database]["services"]

    @property
    def automatic_pool(self) -> bool:
        """Tell whether `pool=auto` leads to this pool."""
        return bool(FACTS[self.database]["pool"] == self.pool)

    def __str__(self) -> str:
        """Return the id, which pytest shows."""
        return self.id


def in_turn(variants: Iterable[Variant]) -> list[Variant]:
    """Give the variants versions of PostgreSQL and Python, which take turns.

    Each round begins one place further on. So a version meets every value of the other
    answers, of which it would skip some if each round were the same.
    """

    def turn(values: list[str], number: int) -> str:
        return values[(number + number // len(values)) % len(values)]

    return [
        replace(
            variant,
            postgres_version=turn(CHOICES["postgres_version"], number),
            python_version=turn(CHOICES["python_version"], number),
        )
        for number, variant in enumerate(variants)
    ]


def all_variants() -> list[Variant]:
    """Combine every database, pool, driver and migrate service."""
    pools = [pool for pool in CHOICES["pool"] if pool != "auto"]
    combinations = product(CHOICES["database"], pools, CHOICES["driver"], [True, False])
    return in_turn(Variant(*combination) for combination in combinations)


VARIANTS = all_variants()
