"""An answer shows in the files that are listed for it, and in no other.

All answers vary, one at a time and together: every variant with the same versions,
every version with each database; Kubernetes with every database, pool and migrate service.
"""

from dataclasses import replace
from itertools import combinations

import pytest

from comparison.rendering import render
from lab.projects import tree_of
from lab.variants import CHOICES, PUBLIC, TEXTS, VARIANTS, Variant

Tree = dict[str, tuple[bytes, bool]]


PLACES = {
    "database": {
        ".cookiecutter.yaml",
        ".env.example",
        ".github/dependabot.yml",
        "README.md",
        "app/core/config.py",
        "app/core/driver.py",
        "app/core/endpoint.py",
        "app/dev.py",
        "app/routers/health.py",
        "docker-compose.yml",
        "kubernetes/api.yaml",
        "kubernetes/kustomization.yaml",
        "kubernetes/migrate.yaml",
        "kubernetes/pgbouncer.ini",
        "kubernetes/pgbouncer.yaml",
        "kubernetes/secrets.env.example",
        "kubernetes/settings.env",
        "pgbouncer.ini",
        "scripts/deploy.sh",
        "scripts/migrate.sh",
        "tests/conftest.py",
        "tests/test_database.py",
        "tests/test_driver.py",
        "tests/test_endpoint.py",
        "tests/test_kubernetes.py",
    },
    "pool": {
        ".cookiecutter.yaml",
        "README.md",
        "app/core/checks.py",
        "app/core/config.py",
        "app/core/database.py",
        "app/core/driver.py",
        "app/core/endpoint.py",
        "app/core/pool.py",
        "app/telemetry.py",
        "kubernetes/pgbouncer.yaml",
        "kubernetes/settings.env",
        "tests/test_database.py",
        "tests/test_endpoint.py",
        "tests/test_kubernetes.py",
        "tests/test_pool.py",
    },
    "driver": {
        ".cookiecutter.yaml",
        "README.md",
        "app/core/checks.py",
        "app/core/driver.py",
        "pyproject.toml",
        "tests/test_config.py",
        "tests/test_database_url.py",
        "tests/test_driver.py",
    },
    "migrate_service": {
        ".cookiecutter.yaml",
        ".env.example",
        "README.md",
        "docker-compose.yml",
        "kubernetes/kustomization.yaml",
        "kubernetes/migrate.yaml",
        "scripts/deploy.sh",
    },
    "kubernetes": {
        ".cookiecutter.yaml",
        ".dockerignore",
        ".github/workflows/kubernetes.yml",
        "README.md",
        "docker-compose.yml",
        "kubernetes/.gitignore",
        "kubernetes/api.yaml",
        "kubernetes/kustomization.yaml",
        "kubernetes/migrate.yaml",
        "kubernetes/namespace.yaml",
        "kubernetes/pgbouncer.ini",
        "kubernetes/pgbouncer.yaml",
        "kubernetes/secrets.env.example",
        "kubernetes/settings.env",
        "pgbouncer.ini",
        "pyproject.toml",
        "scripts/deploy.sh",
        "tests/test_kubernetes.py",
    },
    "postgres_version": {
        ".cookiecutter.yaml",
        ".github/workflows/ci.yml",
        "app/dev.py",
        "docker-compose.test.yml",
        "docker-compose.yml",
    },
    "python_version": {
        ".cookiecutter.yaml",
        ".python-version",
        "Dockerfile",
    },
}


def changed_files(left: Tree, right: Tree) -> set[str]:
    return {
        name for name in left.keys() | right.keys() if left.get(name) != right.get(name)
    }


def with_versions(variant: Variant, **versions: str) -> Variant:
    """Return the variant with the given versions, else the newest ones."""
    newest = {"postgres_version": "18", "python_version": "3.14"}
    return Variant(**{**vars(variant), **newest, **versions})


SAME_VERSIONS = [with_versions(variant) for variant in VARIANTS]


OTHER_VERSIONS = [
    with_versions(variant, **{name: value})
    for variant in VARIANTS[::8]
    for name in ("postgres_version", "python_version")
    for value in CHOICES[name]
]

# Every database and pool, and with each database the other migrate service.
ON_KUBERNETES = [
    replace(variant, kubernetes=True)
    for variant in SAME_VERSIONS
    if variant.driver == "psycopg"
    and (variant.migrate_service or variant.pool == "nullpool")
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Tree]:
    """Return the files of every variant."""
    folder = tmp_path_factory.mktemp("variants")
    every = dict.fromkeys([*SAME_VERSIONS, *OTHER_VERSIONS, *ON_KUBERNETES])
    return {
        variant: tree_of(render(variant.answers, folder / str(number)))
        for number, variant in enumerate(every)
    }


def differing_answers(first: Variant, second: Variant) -> list[str]:
    return [name for name in PLACES if first.answers[name] != second.answers[name]]


def leaks(first: Variant, second: Variant, changed: set[str]) -> set[str]:
    """Return the changed files that no differing answer shows in."""
    differing = differing_answers(first, second)
    return changed - {place for name in differing for place in PLACES[name]}


def test_places_name_every_answer() -> None:
    assert list(PLACES) == [name for name in PUBLIC if name not in TEXTS]


def test_differences_stay_where_the_database_shows(trees: dict[Variant, Tree]) -> None:
    leaked = {
        f"{first} and {second}": found
        for first, second in combinations(trees, 2)
        if (found := leaks(first, second, changed_files(trees[first], trees[second])))
    }
    assert leaked == {}


def test_every_listed_place_shows_its_answer(trees: dict[Variant, Tree]) -> None:
    """A list that has more places than there are would let a leak through."""
    shown: dict[str, set[str]] = {name: set() for name in PLACES}
    for first, second in combinations(trees, 2):
        differing = differing_answers(first, second)
        if len(differing) == 1:
            shown[differing[0]] |= changed_files(trees[first], trees[second])
    assert shown == PLACES


def test_leak_is_found(trees: dict[Variant, Tree]) -> None:
    first, second = SAME_VERSIONS[0], SAME_VERSIONS[-1]
    content, executable = trees[second]["app/main.py"]
    leaked = trees[second] | {"app/main.py": (content + b"# neon\n", executable)}
    changed = changed_files(trees[first], leaked)
    assert leaks(first, second, changed) == {"app/main.py"}
