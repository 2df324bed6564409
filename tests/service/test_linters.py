"""The Dockerfile and the SQL of the migrations, as hadolint and squawk see them.

Each Python, whose image the Dockerfile names. A migration is the same for every answer.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.copies import replace_once, working_copy
from lab.linters import faults_of_dockerfile, faults_of_sql
from lab.projects import Bakery
from lab.services import ServiceEnvironment
from lab.variants import CHOICES, VARIANTS

NO_SERVER = "postgresql://app:postgres@localhost/app"
LOCKS_LONG = "ALTER TABLE users ADD COLUMN age integer NOT NULL;\n"


@pytest.mark.parametrize("python", CHOICES["python_version"])
def test_dockerfile_is_clean(bake: Bakery, python: str) -> None:
    assert faults_of_dockerfile(bake(python_version=python).path) == ""


def test_fault_of_a_dockerfile_is_found(bake: Bakery, tmp_path: Path) -> None:
    path = working_copy(bake(), tmp_path)
    replace_once(path / "Dockerfile", "USER 10001", "USER root")
    assert "DL3002" in faults_of_dockerfile(path)


def test_sql_of_the_migrations_is_clean(
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path: Path,
) -> None:
    variant = VARIANTS[0]
    command = ("alembic", "upgrade", "head", "--sql")
    sql = environments(variant.driver).run(
        working_copy(bake(variant), tmp_path), *command, DATABASE_URL=NO_SERVER
    )
    assert "CREATE TABLE users" in sql.stdout
    assert faults_of_sql(sql.stdout, tmp_path) == ""
    found = faults_of_sql(sql.stdout + LOCKS_LONG, tmp_path)
    assert "adding-required-field" in found
