"""The tests of the rendered services fail when a service is broken.

Each defect is put into one variant that has the broken lines.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from lab.copies import replace_once, working_copy
from lab.prepared import DRIVERS, chosen
from lab.projects import Bakery
from lab.servers import Server
from lab.services import ServiceEnvironment
from lab.variants import VARIANTS, Variant
from tests.service.mutants import MUTANTS, Mutant
from tests.service.suites import Environments, run_tests

QUICK = ("drift",)  # What the quick tier looks for.
CASES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.everything)
    for name in MUTANTS
]


def variant_of(mutant: Mutant) -> Variant:
    """Return the first variant that has the mutant's answers."""
    return next(
        each for each in VARIANTS if mutant.answers.items() <= each.answers.items()
    )


def forking(environment: ServiceEnvironment) -> ServiceEnvironment:
    """Let pytest start as a fork: no mutant is about what packages warn of on import."""
    return replace(environment, forks=frozenset({"pytest"}))


def test_every_mutant_names_a_test(bake: Bakery) -> None:
    for mutant in MUTANTS.values():
        module, _, test = mutant.found_by.partition(".")
        project = bake(variant_of(mutant))
        assert f"def {test.partition('[')[0]}" in project.read(f"tests/{module}.py"), (
            test
        )


@pytest.mark.parametrize("name", CASES)
def test_mutant_is_found(
    environments: Environments,
    bake: Bakery,
    postgres: Server,
    tmp_path: Path,
    name: str,
) -> None:
    mutant = MUTANTS[name]
    variant = variant_of(mutant)
    path = working_copy(bake(variant), tmp_path)
    replace_once(path / mutant.file, mutant.old, mutant.new)
    variables = {}
    if mutant.on_postgres:
        variables["TEST_DATABASE_URL"] = postgres.create_database().url
    module, _, test = mutant.found_by.partition(".")
    files = [f"tests/{module}.py"] if test else []
    outcome = run_tests(
        forking(environments(variant.driver)), path, *files, **variables
    )
    assert outcome.completed.returncode == 1, outcome.output
    assert any(f"tests.{mutant.found_by}" in test for test in outcome.failed)


@pytest.mark.everything
@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_is_found_where_nothing_is_broken(
    environments: Environments,
    bake: Bakery,
    postgres: Server,
    tmp_path: Path,
    driver: str,
) -> None:
    path = working_copy(bake(chosen("postgres", "queuepool", driver)), tmp_path)
    variables = {"TEST_DATABASE_URL": postgres.create_database().url}
    outcome = run_tests(forking(environments(driver)), path, **variables)
    assert outcome.completed.returncode == 0, outcome.output
