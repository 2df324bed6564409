"""The URLs that migrations read, on real PostgreSQL.

The database decides which variable names the server, and the driver how the password
reaches it: each value of both once.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from lab.copies import run_with
from lab.migrations import direct_name
from lab.pairs import each_answer
from lab.servers import Database, Server
from lab.services import ServiceEnvironment
from lab.variants import Variant

pytestmark = pytest.mark.everything

ODD_PASSWORD = "%40 %s % @ : / # ? & = + ' \" \\ $x"  # noqa: S105
EACH = each_answer("database", "driver")

each_database_and_driver = pytest.mark.parametrize("variant", EACH, ids=str)
pooled = pytest.mark.parametrize(
    "variant", [variant for variant in EACH if variant.pooled_endpoint], ids=str
)


@contextmanager
def role(server: Server, password: str) -> Iterator[str]:
    """Create a role that may create tables in a database of its own; yield its URL."""
    name = f"odd_{os.getpid()}"
    database = server.create_database()
    names = {"role": sql.Identifier(name), "database": sql.Identifier(database.name)}

    def run(statement: str, **parts: sql.Composable) -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(**names, **parts))

    run("CREATE ROLE {role} LOGIN PASSWORD {password}", password=sql.Literal(password))
    run("GRANT {role} TO CURRENT_USER")
    try:
        run("ALTER DATABASE {database} OWNER TO {role}")
        address = urlsplit(server.url)
        login = f"{name}:{quote(password, safe='')}"
        yield f"postgres://{login}@{address.hostname}:{address.port}/{database.name}"
    finally:
        run("DROP DATABASE {database} WITH (FORCE)")
        run("DROP ROLE {role}")


@each_database_and_driver
def test_odd_password(
    environment: ServiceEnvironment, variant: Variant, path: Path, postgres: Server
) -> None:
    upgrade = ("alembic", "upgrade", "head")
    with role(postgres, ODD_PASSWORD) as url:
        settings = {direct_name(variant): url}
        completed = run_with(settings, environment, path, *upgrade)
        assert "Running upgrade  -> 0001" in completed.stderr
        wrong = {direct_name(variant): url.replace("%", "%25")}
        refused = run_with(wrong, environment, path, *upgrade, check=False)
        assert refused.returncode != 0
        output = refused.stdout + refused.stderr
        assert ODD_PASSWORD not in output
        assert quote(ODD_PASSWORD, safe="") not in output


PROVIDER = """

from os import environ
from typing import Any

from sqlalchemy import Engine, event


def token() -> str:
    return environ["TOKEN"]


"""


@each_database_and_driver
def test_password_that_changes(
    environment: ServiceEnvironment, variant: Variant, path: Path, postgres: Server
) -> None:
    """The README's hook gives it to Alembic and to the service."""
    readme = (path / "README.md").read_text()
    [hook] = re.findall(r"```python\n(@event.*?)```", readme, re.DOTALL)
    with (path / "app" / "core" / "endpoint.py").open("a") as module:
        module.write(PROVIDER + hook)
    connect = (
        "import asyncio; from app.core.session import read_session_scope as scope\n"
        "async def main():\n"
        "    async with scope() as session:\n"
        "        await session.connection()\n"
        "asyncio.run(main())\n"
    )
    (path / "connect.py").write_text(connect)
    with role(postgres, ODD_PASSWORD) as url:
        name = direct_name(variant)
        outdated = url.replace(quote(ODD_PASSWORD, safe=""), "outdated")
        settings = {name: outdated, "DATABASE_URL": outdated}
        for program in (("alembic", "upgrade", "head"), ("connect",)):
            run_with({**settings, "TOKEN": ODD_PASSWORD}, environment, path, *program)
            refused = run_with(
                {**settings, "TOKEN": "wrong"}, environment, path, *program, check=False
            )
            assert "password authentication failed" in refused.stderr


@pooled
def test_unpooled_url_is_enough(
    environment: ServiceEnvironment, path: Path, database: Database
) -> None:
    environment.run(
        path, *("alembic", "upgrade", "head"), DATABASE_URL_UNPOOLED=database.url
    )
    assert "users" in database.tables()


@pooled
def test_direct_url_is_not_replaced(
    environment: ServiceEnvironment, path: Path, database: Database
) -> None:
    completed = environment.run(
        path, "alembic", "upgrade", "head", check=False, DATABASE_URL=database.url
    )
    assert completed.returncode != 0
    assert completed.stderr.startswith("DATABASE_URL_DIRECT is not set. Set it to ")
    assert database.tables() == set()


@pooled
def test_pooled_url_is_left_alone(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    service, migrations = postgres.create_database(), postgres.create_database()
    environment.run(
        path,
        *("alembic", "upgrade", "head"),
        DATABASE_URL=service.url,
        DATABASE_URL_DIRECT=migrations.url,
    )
    assert service.tables() == set()
    assert "users" in migrations.tables()
