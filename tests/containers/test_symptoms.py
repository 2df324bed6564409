"""Every text of the README's troubleshooting table has been seen.

Each symptom in variants that hold every database, pool and driver that shows it. Whether
a Compose service migrates shows in none.
"""

import re
from collections.abc import Callable

import pytest

from lab.databases import ON_DATABASE
from lab.pairs import each_answer
from lab.prepared import chosen
from lab.projects import Bakery
from lab.symptoms import Laboratory
from lab.variants import VARIANTS, Variant
from tests.containers.wrong_ways import SYMPTOMS, UNMIGRATED, Symptom


def symptom_cases() -> list[object]:
    """Return every symptom, with variants that hold each of its answers."""
    return [
        pytest.param(
            symptom, variant, id=f"{symptom.wrong_way.__name__}-{number}-{variant}"
        )
        for number, symptom in enumerate(SYMPTOMS)
        for variant in each_answer(
            "database",
            "pool",
            "driver",
            among=[each for each in UNMIGRATED if symptom.shown_by(each)],
        )
    ]


@pytest.fixture(scope="module")
def said(lab: Laboratory) -> Callable[[Symptom, Variant], str]:
    """Go each wrong way once; return what was said there."""
    outputs: dict[tuple[str, Variant], str] = {}

    def go(symptom: Symptom, variant: Variant) -> str:
        key = (symptom.wrong_way.__name__, variant)
        if key not in outputs:
            outputs[key] = symptom.wrong_way(lab, variant)
        return outputs[key]

    return go


@pytest.mark.parametrize(("symptom", "variant"), symptom_cases())
def test_wrong_way(
    said: Callable[[Symptom, Variant], str], symptom: Symptom, variant: Variant
) -> None:
    assert symptom.text in said(symptom, variant)


# The README's table.


def said_in_rows(readme: str) -> list[str]:
    """Return the first column of the troubleshooting table."""
    section = readme.split("## Troubleshooting")[1].split("\n## ", maxsplit=1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [row.removeprefix("| ").split(" | ")[0] for row in rows]


def unknown_texts(readme: str, variant: Variant) -> list[str]:
    """Return the texts of a README that no wrong way has led to in this variant.

    A row without a literal text, which nobody could search for, counts as one.
    """
    known = {symptom.text for symptom in SYMPTOMS if symptom.shown_by(variant)}
    known |= set(ON_DATABASE[variant.database].quoted)
    unknown = []
    for cell in said_in_rows(readme):
        texts = re.findall("`([^`]+)`", cell)
        unknown += [text for text in texts if text not in known] if texts else [cell]
    return unknown


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_readme_names_what_was_seen(bake: Bakery, variant: Variant) -> None:
    readme = bake(variant).read("README.md")
    assert len(said_in_rows(readme)) >= 6
    assert unknown_texts(readme, variant) == []


LOCK_ROW = "`canceling statement due to lock timeout`"


@pytest.mark.parametrize(
    ("pool", "row", "unknown"),
    [
        ("queuepool", "`invented`", "invented"),
        ("queuepool", "The migration waits.", "The migration waits."),
        ("queuepool", "canceling statement due to lock timeout", LOCK_ROW.strip("`")),
    ],
    ids=["invented", "no-text", "no-code-span"],
)
def test_unknown_text_is_found(bake: Bakery, pool: str, row: str, unknown: str) -> None:
    variant = chosen("postgres", pool, "asyncpg")
    readme = bake(variant).read("README.md")
    assert LOCK_ROW in readme
    assert unknown_texts(readme.replace(LOCK_ROW, row), variant) == [unknown]
