"""What Compose refuses, and what fails under it, is said and keeps the API down.

Each database, with one variant of those that migrate.
"""

import subprocess

import pytest

from lab.copies import replace_once
from lab.projects import Bakery
from lab.stacks import Stack, environment
from lab.variants import CHOICES, FACTS
from lab.waiting import wait_until
from tests.containers.compose_stacks import (
    COVERING,
    FAILURE,
    MIGRATING,
    NAME,
    UPGRADE,
    MakeStack,
    first_with,
    rendered,
)

pytestmark = pytest.mark.usefixtures("docker_engine", "remove_images")


def test_missing_settings_are_named(bake: Bakery) -> None:
    for variant in COVERING:
        with rendered(bake, variant) as folder:
            checked = Stack(folder, NAME).compose("config", "--quiet", check=False)

        # Compose names one of those that are missing, not always the same one.
        missing = FACTS[variant.database]["fill_in"] or ["POSTGRES_PASSWORD"]
        assert checked.returncode != 0
        assert any(name in checked.stderr for name in missing)
        assert ".env" in checked.stderr


PROFILES: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "profile-in-env": ({}, ()),
    "profile-as-option": ({"COMPOSE_PROFILES": None}, ("--profile", "migrate")),
}


@pytest.mark.parametrize(
    ("database", "profile"),
    [
        *((database, "profile-in-env") for database in CHOICES["database"]),
        ("postgres", "profile-as-option"),
    ],
)
def test_failing_migration_keeps_the_api_from_starting(
    make_stack: MakeStack, database: str, profile: str, report: list[str]
) -> None:
    settings, options = PROFILES[profile]
    stack = make_stack(first_with(MIGRATING, database=database), **settings)
    break_migration(stack)

    outcome = up_until_migrations_failed(stack, *options)

    assert not stack.started("api"), stack.logs("api")
    assert FAILURE in stack.logs("migrate")
    assert outcome != 0
    report.append(f"{database}, {profile}: migration failed, API not started")


def test_an_api_that_starts_all_the_same_is_noticed(make_stack: MakeStack) -> None:
    stack = make_stack(first_with(MIGRATING, database="postgres"))
    break_migration(stack)
    retry = "    restart: on-failure\n"
    replace_once(stack.folder / "docker-compose.yml", retry, "")

    up_until_migrations_failed(stack)

    assert stack.started("api")


def break_migration(stack: Stack) -> None:
    """Let the project's first migration fail."""
    (migration,) = (stack.folder / "alembic" / "versions").glob("*.py")
    replace_once(migration, UPGRADE, f"{UPGRADE}    raise RuntimeError('{FAILURE}')\n")


def up_until_migrations_failed(stack: Stack, *options: str) -> int | None:
    """Run `up` until it ends or has seen two failures; return its exit code, if any.

    A project may try again. It then has to keep the API waiting each time.
    """
    command = ("docker", "compose", *options, "up", "--build", "--detach", "--wait")
    with subprocess.Popen(
        command,
        cwd=stack.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(
                lambda: (
                    process.poll() is not None
                    or stack.started("api")
                    or stack.logs("migrate").count(f"RuntimeError: {FAILURE}") > 1
                ),
                "a failed migration",
            )
            return process.poll()
        finally:
            process.kill()
