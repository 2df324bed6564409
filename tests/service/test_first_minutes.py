"""What a person meets first is told in one line: no tables yet, or no right to make any.

The driver decides how the server's error is read: so each driver, on a direct server.
"""

from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from lab.copies import run_with
from lab.migrations import migrate
from lab.prepared import chosen
from lab.servers import Database
from lab.services import ServiceEnvironment, running_service

ADA = {"name": "Ada", "email": "ada@example.com"}
REMEDY = "run alembic upgrade head"
pytestmark = pytest.mark.everything

each_driver = pytest.mark.parametrize(
    "variant",
    [
        chosen("postgres", "queuepool", "asyncpg"),
        chosen("postgres", "nullpool", "psycopg"),
    ],
    ids=str,
)


@each_driver
def test_database_without_tables(
    environment: ServiceEnvironment, path: Path, database: Database
) -> None:
    log = path.parent / "log"
    with (
        running_service(environment, path, log, DATABASE_URL=database.url) as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        refused = [client.post("/users", json=ADA), client.get("/teams/1")]
        ready = client.get("/health/db")
        assert [answer.status_code for answer in (*refused, ready)] == [503, 503, 503]
        assert ready.json()["database"] == f"there are no tables: {REMEDY}"
        lines = [line for line in log.read_text().splitlines() if REMEDY in line]
        assert len(lines) == 3
        assert 'relation "users" does not exist' in lines[0]
        assert "Traceback" not in log.read_text()

        migrate(path, environment, database)
        assert client.post("/users", json=ADA).status_code == 201
        assert client.get("/health/db").status_code == 200


@each_driver
def test_role_that_may_not_create_tables(
    environment: ServiceEnvironment, path: Path, database: Database
) -> None:
    role = f"plain_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'")
    address = urlsplit(database.url)
    host = address.netloc.rpartition("@")[2]
    url = address._replace(netloc=f"{role}:s3cret@{host}").geturl()
    command = ("alembic", "upgrade", "head")

    refused = run_with({"DATABASE_URL": url}, environment, path, *command, check=False)
    assert refused.returncode == 1
    *before, line = refused.stderr.splitlines()
    assert all(" INFO " in f" {each} " for each in before)
    assert "permission denied for schema public: give the role plain_" in line

    database.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    run_with({"DATABASE_URL": url}, environment, path, *command)
    assert "users" in database.tables()
