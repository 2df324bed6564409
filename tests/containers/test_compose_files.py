"""The Compose files, as parsed.

Every database, driver and way to migrate: a file is parsed in milliseconds.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from lab.projects import Bakery, Project
from lab.variants import VARIANTS
from tests.containers.compose_checks import CHECKS, SLUG, Stack, local_url, read_stack


@pytest.fixture
def stack(project: Project) -> Stack:
    """Return the stack of every variant."""
    return read_stack(project)


@pytest.mark.parametrize("name", CHECKS)
def test_stack(stack: Stack, name: str) -> None:
    CHECKS[name](stack)


# The checks find what they look for


@dataclass(frozen=True)
class Break:
    """A change to a stack, and the check that must find it."""

    check: str
    database: str
    migrate_service: bool
    change: Callable[[Stack], object]


def put(*path: str | int, value: object) -> Callable[[Stack], object]:
    """Return a function that sets what is at a path below the services."""

    def change(stack: Stack) -> None:
        target: Any = stack.main["services"]
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[Stack], object]:
    """Return a function that deletes what is at a path below the services."""

    def change(stack: Stack) -> None:
        target: Any = stack.main["services"]
        for part in path[:-1]:
            target = target[part]
        del target[path[-1]]

    return change


CURL = ["CMD", "curl", "-f", "http://127.0.0.1:8000/health/live"]
HEALTH_DB = "import os, urllib.request as r; r.urlopen(f\"http://localhost:{os.environ['PORT']}/health/db\")"
BREAKS = {
    "same-name": Break(
        "names", "postgres", True, lambda stack: stack.test.update(name=SLUG)
    ),
    "extra-service": Break("services", "neon", True, put("db", value={})),
    "no-migrate": Break("services", "neon", True, drop("migrate")),
    "other-version": Break(
        "images", "postgres", True, put("db", "image", value="postgres:15")
    ),
    "latest-pgbouncer": Break(
        "images",
        "pgbouncer",
        True,
        put("pgbouncer", "image", value="edoburu/pgbouncer"),
    ),
    "test-image": Break(
        "images", "neon", False, put("api", "build", "target", value="testing")
    ),
    "db-started": Break(
        "order",
        "postgres",
        True,
        put("api", "depends_on", "db", "condition", value="service_started"),
    ),
    "migrate-required": Break(
        "order",
        "postgres",
        True,
        put("api", "depends_on", "migrate", "required", value=True),
    ),
    "migrate-not-awaited": Break(
        "order", "neon", True, drop("api", "depends_on", "migrate")
    ),
    "api-in-profile": Break(
        "profiles", "postgres", True, put("api", "profiles", value=["api"])
    ),
    "profile-not-chosen": Break(
        "profiles",
        "postgres",
        True,
        lambda stack: stack.example.pop("COMPOSE_PROFILES"),
    ),
    "api-past-the-pooler": Break(
        "urls",
        "pgbouncer",
        True,
        put("api", "environment", "DATABASE_URL", value=local_url("db", 5432)),
    ),
    "migrate-pooled": Break(
        "urls",
        "neon",
        True,
        put(
            "migrate", "environment", "DATABASE_URL_DIRECT", value="${NEON_POOLED_URL}"
        ),
    ),
    "migrate-has-both": Break(
        "urls",
        "neon",
        True,
        put("migrate", "environment", "DATABASE_URL", value="${NEON_POOLED_URL}"),
    ),
    "test-database-app": Break(
        "test_url",
        "postgres",
        True,
        lambda stack: stack.test["services"]["test"]["environment"].update(
            TEST_DATABASE_URL="postgresql://test:test@test-db:5432/app"
        ),
    ),
    "debug": Break(
        "settings", "neon", True, put("api", "environment", "DEBUG", value="true")
    ),
    "every-secret": Break(
        "settings", "neon", True, put("api", "env_file", 0, value=".env")
    ),
    "fixed-password": Break(
        "password",
        "postgres",
        True,
        put("db", "environment", "POSTGRES_PASSWORD", value="postgres"),
    ),
    "every-interface": Break(
        "ports",
        "postgres",
        True,
        put("api", "ports", 0, value="${API_PORT:-8000}:8000"),
    ),
    "fixed-port": Break(
        "ports", "postgres", True, put("db", "ports", 0, value="127.0.0.1:5432:5432")
    ),
    "other-path": Break(
        "volumes", "postgres", True, put("db", "volumes", 0, value="db-data:/data")
    ),
    "named-test-volume": Break(
        "volumes",
        "postgres",
        True,
        lambda stack: stack.test.update(volumes={"db-data": None}),
    ),
    "curl": Break(
        "health", "postgres", True, put("api", "healthcheck", "test", value=CURL)
    ),
    "neon-is-woken": Break(
        "health", "neon", True, put("api", "healthcheck", "test", 3, value=HEALTH_DB)
    ),
    "socket": Break(
        "health",
        "postgres",
        True,
        put("db", "healthcheck", "test", 3, value="/tmp"),  # noqa: S108
    ),
    "no-probe": Break("health", "pgbouncer", True, drop("pgbouncer", "healthcheck")),
    "unknown-variable": Break(
        "variables", "neon", True, put("api", "environment", "X", value="${OTHER}")
    ),
    "unused-variable": Break(
        "variables", "neon", True, lambda stack: stack.example.update(DB_PORT="5432")
    ),
    "silent-variable": Break(
        "missing_variables",
        "neon",
        True,
        put("api", "environment", "DATABASE_URL", value="${NEON_POOLED_URL}"),
    ),
    "short-grace": Break(
        "stop", "postgres", True, put("api", "stop_grace_period", value="10s")
    ),
    "no-grace": Break(
        "stop",
        "postgres",
        True,
        lambda stack: setattr(
            stack,
            "dockerfile",
            stack.dockerfile.replace("shutdown 20", "shutdown 40"),
        ),
    ),
    "migrate-always": Break(
        "restart", "postgres", True, put("migrate", "restart", value="always")
    ),
    "writable": Break(
        "hardening", "postgres", True, put("migrate", "read_only", value=False)
    ),
    "capable": Break("hardening", "pgbouncer", True, drop("pgbouncer", "cap_drop")),
    "new-privileges": Break("hardening", "postgres", True, drop("db", "security_opt")),
    "session-mode": Break(
        "pgbouncer",
        "pgbouncer",
        True,
        lambda stack: setattr(
            stack, "pgbouncer", stack.pgbouncer.replace("= transaction", "= session")
        ),
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_stack_is_found(bake: Bakery, name: str) -> None:
    broken = BREAKS[name]
    variant = next(
        variant
        for variant in VARIANTS
        if variant.database == broken.database
        and variant.migrate_service == broken.migrate_service
    )
    stack = copy.deepcopy(read_stack(bake(variant)))
    CHECKS[broken.check](stack)
    broken.change(stack)
    with pytest.raises((AssertionError, KeyError)):
        CHECKS[broken.check](stack)


def test_every_check_can_fail() -> None:
    assert {broken.check for broken in BREAKS.values()} == set(CHECKS)
