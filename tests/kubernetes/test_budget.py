"""The rendered test of the connection budget fails with the sum that the README shows.

Every database, and every pool; the format with every database and pool.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.commands import run
from lab.copies import replace_once, working_copy
from lab.databases import ON_DATABASE
from lab.pairs import each_answer, one_of_each
from lab.projects import Bakery
from lab.services import ServiceEnvironment, install
from lab.variants import Variant

TESTS = "tests/test_kubernetes.py"
ALL = [replace(each, kubernetes=True) for each in one_of_each("database", "pool")]
CHOSEN = [replace(each, kubernetes=True) for each in each_answer("database", "pool")]
QUEUED = next(v for v in ALL if (v.database, v.pool) == ("pgbouncer", "queuepool"))

Environments = Callable[[str], ServiceEnvironment]


def run_tests(
    environments: Environments, variant: Variant, path: Path
) -> subprocess.CompletedProcess[str]:
    """Run the rendered tests of the manifests."""
    command = ("pytest", "-q", "--noconftest", "-p", "no:cacheprovider", TESTS)
    return environments(variant.driver).run(path, *command, check=False)


@pytest.mark.everything
@pytest.mark.parametrize("variant", CHOSEN, ids=str)
def test_numbers_fit_and_just_so(
    bake: Bakery, environments: Environments, variant: Variant, tmp_path: Path
) -> None:
    """With one connection less they do not, by the sum that the README has."""
    project, expected = bake(variant), ON_DATABASE[variant.database]
    path = working_copy(project, tmp_path)
    completed = run_tests(environments, variant, path)
    assert completed.returncode == 0, completed.stdout
    [file] = [name for name in project.files() if expected.limit in project.read(name)]
    [total] = re.findall(r" = (\d+) [a-z]+$", expected.connections)
    name = expected.limit.partition(" = ")[0]
    replace_once(path / file, expected.limit, f"{name} = {int(total) - 1}")
    completed = run_tests(environments, variant, path)
    assert f"{expected.connections}, but" in completed.stdout
    assert f"```text\n{expected.connections}\n" in project.read("README.md")


RAISED = {
    "replicas": ("api.yaml", "cas: 10", "cas: 90", " = 1012 clients, but"),
    "pool": ("settings.env", "POOL_SIZE=5", "POOL_SIZE=79", " = 1020 clients, but"),
    "pgbouncer": (
        "pgbouncer.ini",
        "default_pool_size = 20",
        "default_pool_size = 24",
        "2 x 2 PgBouncers x 24 default_pool_size + 2 migration + 3 reserved"
        " = 101 connections, but max_connections = 100",
    ),
    "recycle": ("settings.env", "RECYCLE=60", "RECYCLE=61", "(10 + 121.0) <= 130"),
    "misspelt": ("settings.env", "POOL_SIZE", "POOL_SIZES", "DB_POOL_SIZES is no"),
    "processes": (
        "settings.env",
        "LOG_FORMAT=json",
        "WEB_CONCURRENCY=2",
        "A pod has one process",
    ),
}


@pytest.mark.everything
@pytest.mark.parametrize("name", RAISED)
def test_number_that_is_raised_too_far_is_found(
    bake: Bakery, environments: Environments, name: str, tmp_path: Path
) -> None:
    file, old, new, said = RAISED[name]
    path = working_copy(bake(QUEUED), tmp_path)
    replace_once(path / "kubernetes" / file, old, new)
    completed = run_tests(environments, QUEUED, path)
    assert said in completed.stdout, completed.stdout


@pytest.mark.everything
def test_settings_of_others_are_left_alone(
    bake: Bakery, environments: Environments, tmp_path: Path
) -> None:
    """The image, libpq and OpenTelemetry have variables, too."""
    path = working_copy(bake(QUEUED), tmp_path)
    settings = path / "kubernetes" / "settings.env"
    others = "\nFORWARDED_ALLOW_IPS=*\nOTEL_SERVICE_NAME=api\nPGSSLMODE=require\n"
    settings.write_text(settings.read_text() + others)
    completed = run_tests(environments, QUEUED, path)
    assert completed.returncode == 0, completed.stdout


def test_sum_of_the_pgbouncers_is_in_the_readme(bake: Bakery) -> None:
    readme = bake(QUEUED).read("README.md")
    line = r"^2 x 2 PgBouncers x 20 default_pool_size .* = 85 connections$"
    assert re.search(line, readme, re.MULTILINE)


@pytest.mark.parametrize("command", [["format", "--check"], ["check"]], ids=" ".join)
def test_format_and_lint(bake: Bakery, command: list[str]) -> None:
    paths = [str(bake(variant).path / TESTS) for variant in ALL]
    run([sys.executable, "-m", "ruff", *command, "--no-cache", *paths])


@pytest.mark.everything
def test_types(bake: Bakery, tmp_path: Path) -> None:
    """With what the rendered project installs."""
    path = working_copy(bake(QUEUED), tmp_path)
    install(path, tmp_path / "environment").run(path, "mypy", TESTS)
