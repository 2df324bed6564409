"""A wrong environment ends a process with one line for each variable that is wrong.

Every database and driver as a process, and each of them in an image; each pool with one
driver. All the cases are Neon's, which has the most to refuse, as processes; the others,
and the images, have one of each kind.
"""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from lab.containers import docker
from lab.databases import PASSWORD
from lab.prepared import DATABASES, DRIVERS, chosen
from lab.projects import Bakery
from lab.services import ServiceEnvironment
from lab.variants import Variant, in_turn
from tests.service.wrong_environments import (
    FEW_CASES,
    WrongEnvironment,
    wrong_environments,
)

pytestmark = pytest.mark.everything

AT_ONCE = 4
EXIT_SECONDS = 120
COMMON_CASES = {"missing", "empty", "everything", *FEW_CASES}
# Each database, and the drivers in turn. The first is neon's, with asyncpg.
IMAGES = in_turn(
    chosen(database, "queuepool", driver)
    for database, driver in zip(
        sorted(DATABASES, key=lambda name: name != "neon"), cycle(DRIVERS)
    )
)
COMMANDS = {
    "uvicorn": ["uvicorn", "app.main:app", "--port", "0"],
    "alembic": ["alembic", "upgrade", "head"],
}


def end_of_process(
    environment: ServiceEnvironment, project: Path, program: str
) -> Callable[[WrongEnvironment], list[str]]:
    """Return a check that runs a program of a project in a wrong environment."""

    def check(wrong: WrongEnvironment) -> list[str]:
        try:
            completed = environment.run(
                project,
                *COMMANDS[program],
                check=False,
                timeout=EXIT_SECONDS,
                **wrong.variables,
            )
        except subprocess.TimeoutExpired:
            return [f"{wrong.name}: {program} goes on"]
        return wrong.faults(completed.returncode, completed.stdout + completed.stderr)

    return check


def end_of_container(
    image: str, program: str
) -> Callable[[WrongEnvironment], list[str]]:
    """Return a check that runs a program of an image in a wrong environment."""

    def check(wrong: WrongEnvironment) -> list[str]:
        name = f"bad-input-{uuid.uuid4().hex}"
        settings = [f"--env={name}={value}" for name, value in wrong.variables.items()]
        # Without a command, the image serves.
        command = [] if program == "uvicorn" else COMMANDS[program]
        try:
            completed = docker(
                *("run", "--rm", "--network", "none", "--name", name),
                *(*settings, image, *command),
                check=False,
                timeout=EXIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            docker("rm", "--force", name, check=False)
            return [f"{wrong.name}: {program} goes on"]
        return wrong.faults(completed.returncode, completed.stdout + completed.stderr)

    return check


def common(cases: list[WrongEnvironment]) -> list[WrongEnvironment]:
    """Return one case of each kind, and those of the -pooler host."""
    return [
        case
        for case in cases
        if case.name.split(" ", 1)[-1] in COMMON_CASES or case.name.startswith("pooled")
    ]


def faults_in_all(
    cases: list[WrongEnvironment], check: Callable[[WrongEnvironment], list[str]]
) -> list[str]:
    """Run a check of every environment, some at once, and return all faults."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [fault for found in pool.map(check, cases) for fault in found]


@pytest.mark.parametrize("program", COMMANDS)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("database", DATABASES)
def test_wrong_environment_of_a_process(  # noqa: PLR0913, PLR0917
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    database: str,
    driver: str,
    program: str,
    report: list[str],
) -> None:
    pool = "queuepool" if driver == "asyncpg" else "nullpool"
    cases = list(wrong_environments(database, pool, program))
    if database != "neon":
        cases = common(cases)
    project = bake(chosen(database, pool, driver)).path
    found = faults_in_all(cases, end_of_process(environments(driver), project, program))
    report.append(f"{database}, {driver}, {program}: {len(cases)} wrong environments")
    assert not found, "\n".join(found)


@dataclass(frozen=True)
class Image:
    """The runtime image of a variant."""

    tag: str
    variant: Variant


@pytest.fixture(scope="module", params=IMAGES, ids=str)
def image(
    request: pytest.FixtureRequest,
    docker_engine: None,  # noqa: ARG001
    bake: Bakery,
) -> Iterator[Image]:
    """Build a variant's runtime image."""
    variant: Variant = request.param
    project = bake(variant).path
    tag = f"bad-input-{os.getpid()}-{variant.database}-{variant.driver}"
    docker("build", "--quiet", "--target", "runtime", "--tag", tag, str(project))
    yield Image(tag, variant)
    docker("image", "rm", "--force", tag, check=False)


@pytest.mark.parametrize("program", COMMANDS)
def test_wrong_environment_of_a_container(
    image: Image, program: str, report: list[str]
) -> None:
    variant = image.variant
    cases = common(list(wrong_environments(variant.database, variant.pool, program)))
    found = faults_in_all(cases, end_of_container(image.tag, program))
    report.append(
        f"container of {variant.database}, {variant.driver}, {program}:"
        f" {len(cases)} wrong environments"
    )
    assert not found, "\n".join(found)


def test_wrong_ends_are_found() -> None:
    """The check can fail: a traceback, a password, another exit code, a line too few."""
    case = WrongEnvironment("case", {}, {"DATABASE_URL": "use", "DEBUG": "boolean"})
    good = "DATABASE_URL has a mistake: use it\nDEBUG: no boolean\n"
    assert not case.faults(1, good)
    for code, output in [
        (0, good),
        (-15, good),
        (1, f"{good}Traceback (most recent call last):"),
        (1, good.replace("mistake", PASSWORD)),
        (1, good.replace("boolean", "number")),
        (1, good.splitlines()[0]),
        (1, good.replace("DEBUG", "DATABASE_URL")),
    ]:
        assert case.faults(code, output), output
