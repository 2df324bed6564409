"""Few variants that hold every pair of answers, or every one of some."""

from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import TypeVar

from lab.variants import VARIANTS, Variant

Answer = tuple[str, object]
Pair = frozenset[Answer]
Held = TypeVar("Held")


def pairs_of(variant: Variant, questions: Sequence[str]) -> set[Pair]:
    """Return every pair of answers that the variant holds."""
    answers = [(name, getattr(variant, name)) for name in questions]
    return {frozenset(pair) for pair in combinations(answers, 2)}


def pairs_of_all(variants: Collection[Variant], questions: Sequence[str]) -> set[Pair]:
    """Return every pair of answers that one of the variants holds."""
    return {pair for variant in variants for pair in pairs_of(variant, questions)}


def covering_variants(
    variants: Sequence[Variant], questions: Sequence[str]
) -> list[Variant]:
    """Choose variants that together hold every pair of answers that all hold."""
    return fewest(variants, lambda variant: pairs_of(variant, questions))


def each_answer(*questions: str, among: Sequence[Variant] = VARIANTS) -> list[Variant]:
    """Choose few variants that together hold every answer to these questions."""
    return fewest(
        among,
        lambda variant: {(name, getattr(variant, name)) for name in questions},
    )


def fewest(
    variants: Sequence[Variant], held_by: Callable[[Variant], set[Held]]
) -> list[Variant]:
    """Choose variants that together hold what all hold.

    Each choice is the first of those that add the most.
    """
    missing = {each for variant in variants for each in held_by(variant)}
    chosen: list[Variant] = []
    while missing:
        best = max(variants, key=lambda variant: len(missing & held_by(variant)))
        missing -= held_by(best)
        chosen.append(best)
    return chosen


def one_of_each(*questions: str) -> list[Variant]:
    """Return the first variant of each combination of answers to these questions."""
    chosen: dict[tuple[object, ...], Variant] = {}
    for variant in VARIANTS:
        answers = tuple(getattr(variant, name) for name in questions)
        chosen.setdefault(answers, variant)
    return list(chosen.values())
