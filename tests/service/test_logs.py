"""What a service logs has one form, and tells of a request without a user's data.

The driver decides what an error says, so each is served. The pool takes turns.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lab.copies import run_with
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database
from lab.services import RunningService, ServiceEnvironment, running_service

EMAIL = "ada@example.com"
FORM = {"time", "level", "logger", "message"}
NOWHERE = "postgresql://app:s3cret@127.0.0.1:1/app"
Environments = Callable[[str], ServiceEnvironment]
pytestmark = pytest.mark.everything

each_driver = pytest.mark.parametrize(
    ("driver", "pool"), [("asyncpg", "queuepool"), ("psycopg", "nullpool")]
)


def records(text: str) -> list[dict[str, Any]]:
    """Read a log, each line of which is a record."""
    found = [json.loads(line) for line in text.splitlines()]
    assert found
    for record in found:
        assert record.keys() >= FORM, record
    return found


def of_request(service: RunningService, request_id: str) -> list[tuple[str, str]]:
    """Return the loggers and messages of a request."""
    return [
        (record["logger"], record["message"])
        for record in records(service.log.read_text())
        if record.get("request_id") == request_id
    ]


@each_driver
def test_service_logs_json(  # noqa: PLR0913, PLR0917
    bake: Bakery,
    environments: Environments,
    migrated: Callable[[], Database],
    tmp_path: Path,
    driver: str,
    pool: str,
) -> None:
    path, log = bake(chosen("postgres", pool, driver)).path, tmp_path / "log"
    user = {"name": "Ada", "email": EMAIL}
    with (
        running_service(
            environments(driver),
            path,
            log,
            DATABASE_URL=migrated().url,
            LOG_FORMAT="json",
        ) as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        for request_id in ("first", "second"):
            client.post("/users", json=user, headers={"X-Request-ID": request_id})
        service.stop()

    (reason_logger, reason), (access_logger, access) = of_request(service, "second")
    assert (reason_logger, access_logger) == ("app.errors", "uvicorn.access")
    assert reason.startswith("409 from write_user, line ")
    assert reason.endswith(
        'duplicate key value violates unique constraint "uq_users_email_lower"'
    )
    assert access.endswith('"POST /users HTTP/1.1" 409')
    messages = [record["message"] for record in records(log.read_text())]
    assert messages[0].startswith("Started server process")
    assert messages[-1].startswith("Finished server process")
    assert EMAIL not in log.read_text()


@each_driver
def test_outage_is_one_line(
    bake: Bakery, environments: Environments, tmp_path: Path, driver: str, pool: str
) -> None:
    path, log = bake(chosen("postgres", pool, driver)).path, tmp_path / "log"
    with (
        running_service(
            environments(driver), path, log, DATABASE_URL=NOWHERE, LOG_FORMAT="json"
        ) as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        for name in ("users", "health/db"):
            headers = {"X-Request-ID": name.replace("/", ".")}
            assert client.get(name, headers=headers).status_code == 503
        service.stop()

    for request_id, text in {
        "users": "database unavailable: ",
        "health.db": "database check: ",
    }.items():
        (_, reason), (_, access) = of_request(service, request_id)
        assert reason.startswith(text)
        assert "refused" in reason or "Connect call failed" in reason
        assert access.endswith(" 503")
    assert "s3cret" not in log.read_text()


def test_alembic_and_jobs_log_json(
    bake: Bakery, environments: Environments, database: Database
) -> None:
    path = bake(chosen("postgres", "nullpool", "psycopg")).path
    settings = {"DATABASE_URL": database.url, "LOG_FORMAT": "json"}
    environment = environments("psycopg")

    migrated = run_with(settings, environment, path, "alembic", "upgrade", "head")
    job = run_with(settings, environment, path, "app.jobs.delete_empty_teams")

    messages = [record["message"] for record in records(migrated.stderr)]
    assert messages[-1] == "Running upgrade  -> 0001, Create teams and users."
    assert [record["message"] for record in records(job.stderr)] == ["deleted 0 teams"]


def test_level_is_that_of_every_logger(
    bake: Bakery, environments: Environments, tmp_path: Path
) -> None:
    path, log = bake(chosen("postgres", "nullpool", "psycopg")).path, tmp_path / "log"
    with (
        running_service(
            environments("psycopg"),
            path,
            log,
            DATABASE_URL=NOWHERE,
            LOG_LEVEL="error",
        ) as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        client.get("/users")
        service.stop()

    [line] = log.read_text().splitlines()
    assert " ERROR app.errors [" in line
