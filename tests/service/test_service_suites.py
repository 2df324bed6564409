"""The tests of the rendered services pass, on SQLite and on PostgreSQL.

On PostgreSQL, variants that hold every pair of database, pool and driver. On SQLite, each
pool and each driver: a database shows in tests that connect to nothing, alike on both.
What the tests do with their database and its URL is the same file for all, and connects
with a driver: so each driver, or one variant where nothing connects.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from lab.copies import working_copy
from lab.pairs import each_answer, one_of_each
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database, Server, nearest
from lab.services import ServiceEnvironment, install
from lab.variants import VARIANTS, Variant
from tests.service.suites import (
    NEEDS_POSTGRES,
    USAGE_ERROR,
    Environments,
    Outcome,
    assert_passed,
    assert_success,
    run_both,
    run_tests,
)
from tests.tiers import PAIRWISE

PASSWORD = "s3cret"  # noqa: S105 (of servers that are not there)


every_pair = pytest.mark.parametrize("variant", PAIRWISE, ids=str)
one_url_and_two = pytest.mark.parametrize(
    "variant",
    [
        chosen("postgres", "queuepool", "psycopg"),
        chosen("neon", "nullpool", "asyncpg"),
    ],
    ids=str,
)
each_pool_and_driver = pytest.mark.parametrize(
    "variant", each_answer("pool", "driver"), ids=str
)
each_driver = pytest.mark.parametrize("variant", one_of_each("driver"), ids=str)
one_service = pytest.mark.parametrize("variant", VARIANTS[:1], ids=str)


class Decoy:
    """A server that only counts who connects to it."""

    def __init__(self, listener: socket.socket) -> None:
        """Count the connections to a socket that listens."""
        self.connections = 0
        self._listener = listener
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def url(self, name: str) -> str:
        """Return the URL of a database of that name."""
        port = self._listener.getsockname()[1]
        return f"postgresql://app:{PASSWORD}@127.0.0.1:{port}/{name}"


@pytest.fixture
def decoy() -> Iterator[Decoy]:
    """Return a server that must not be connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Decoy(listener)
        listener.shutdown(socket.SHUT_RDWR)


def other_settings(decoy: Decoy) -> dict[str, str]:
    """Return what a developer's shell may have set for the service itself."""
    return {
        "DATABASE_URL": decoy.url("app"),
        "DATABASE_URL_DIRECT": decoy.url("app"),
        "DATABASE_URL_UNPOOLED": decoy.url("app"),
        "DB_POOL_SIZE": "1",
        "DB_CONNECT_TIMEOUT": "none",
        "DEBUG": "true",
        "LOG_LEVEL": "none",
    }


# Every service


@every_pair
def test_on_postgres(
    environment: ServiceEnvironment,
    path: Path,
    variant: Variant,
    postgres_of: Callable[[int], Server],
) -> None:
    database = postgres_of(nearest(variant.postgres_version)).create_database()
    outcome = run_tests(environment, path, TEST_DATABASE_URL=database.url)

    assert_success(outcome)
    assert outcome.skipped == {}
    assert database.execute("SELECT count(*) FROM users") == [(0,)]
    assert database.execute("SELECT version_num FROM alembic_version") == [("0001",)]


@each_pool_and_driver
def test_sqlite_skips_what_needs_postgres(
    environment: ServiceEnvironment, path: Path
) -> None:
    outcome = run_tests(environment, path)

    assert_success(outcome)
    assert outcome.skipped
    assert set(outcome.skipped.values()) == {NEEDS_POSTGRES}


@pytest.mark.everything
@one_url_and_two
def test_settings_of_the_shell_are_left_alone(
    environment: ServiceEnvironment, path: Path, postgres: Server, decoy: Decoy
) -> None:
    database = postgres.create_database()
    for outcome in run_both(environment, path, database, **other_settings(decoy)):
        assert_success(outcome)
    assert decoy.connections == 0


def test_decoy_counts_connections(decoy: Decoy) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(decoy.url("app"), connect_timeout=5)
    assert decoy.connections > 0


@pytest.mark.everything
@one_service
def test_sqlite_leaves_no_file(environment: ServiceEnvironment, path: Path) -> None:
    before = {file for file in path.rglob("*") if file.is_file()}
    assert_success(run_tests(environment, path))
    assert {file for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.everything
@each_driver
def test_oldest_dependencies(
    bake: Bakery, variant: Variant, postgres: Server, tmp_path: Path
) -> None:
    path = working_copy(bake(variant), tmp_path)
    oldest = install(path, tmp_path / "oldest", "--resolution", "lowest-direct")
    # What packages of their age warn of, on a Python that is newer, is no fault here.
    for outcome in run_both(oldest, path, postgres.create_database()):
        assert_passed(outcome)


# A database that is not for tests


@contextmanager
def precious_database(server: Server, prefix: str) -> Iterator[Database]:
    """Create a database whose name starts with `prefix` and which holds one row."""
    name = f"{prefix}_{os.getpid()}"
    identifier = sql.Identifier(name)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        database = Database(urlunsplit(urlsplit(server.url)._replace(path=f"/{name}")))
        database.execute("CREATE TABLE precious AS SELECT 'still here' AS text")
        yield database
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier)
            connection.execute(drop)


def is_still_there(database: Database) -> bool:
    """Tell whether the row is in the database, and nothing else is."""
    if database.tables() != {"precious"}:
        return False
    return database.execute("SELECT text FROM precious") == [("still here",)]


def assert_refused(outcome: Outcome, name: str) -> None:
    """Require a message that names the variable, the database and the remedy."""
    assert outcome.completed.returncode == USAGE_ERROR, outcome.output
    assert not outcome.tests
    message = outcome.completed.stderr
    assert "TEST_DATABASE_URL" in message
    assert repr(name) in message
    assert "'test'" in message
    assert "Traceback" not in outcome.output
    assert PASSWORD not in outcome.output


@pytest.mark.everything
@pytest.mark.parametrize(
    ("prefix", "variant"),
    list(zip(cycle(["app", "contest"]), one_of_each("driver"))),
    ids=str,
)
def test_database_that_is_not_for_tests_is_untouched(
    environment: ServiceEnvironment, path: Path, postgres: Server, prefix: str
) -> None:
    with precious_database(postgres, prefix) as database:
        outcome = run_tests(environment, path, TEST_DATABASE_URL=database.url)
        assert_refused(outcome, database.name)
        assert is_still_there(database)


@pytest.mark.everything
@each_driver
def test_database_for_tests_is_emptied(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    """What would happen to a database that the tests should have refused; again, too."""
    with precious_database(postgres, "app_test") as database:
        for _ in range(2):
            assert_success(run_tests(environment, path, TEST_DATABASE_URL=database.url))
            assert not is_still_there(database)


Collect = Callable[..., Outcome]


@pytest.fixture
def collect(environments: Environments, bake: Bakery, tmp_path: Path) -> Collect:
    """Let pytest look for a service's tests, with a URL of the database for them."""
    variant = VARIANTS[0]
    path = working_copy(bake(variant), tmp_path)

    def run(url: str, *options: str) -> Outcome:
        options = ("--collect-only", *options)
        environment = environments(variant.driver)
        return run_tests(environment, path, *options, TEST_DATABASE_URL=url)

    return run


@pytest.mark.everything
@pytest.mark.parametrize(
    "name", ["app", "contest", "latest", "attestation", "postgres", "neondb", ""]
)
def test_name_does_not_say_test(collect: Collect, decoy: Decoy, name: str) -> None:
    assert_refused(collect(decoy.url(name)), name)
    assert decoy.connections == 0


@pytest.mark.everything
@pytest.mark.parametrize("name", ["test", "app_test", "tests-of-app", "Test1"])
def test_name_says_test(collect: Collect, decoy: Decoy, name: str) -> None:
    outcome = collect(decoy.url(name), "-q")
    assert outcome.completed.returncode == 0, outcome.output


@pytest.mark.everything
@pytest.mark.parametrize(
    "url",
    [
        f"mysql://app:{PASSWORD}@127.0.0.1/test",
        f"postgresql://app:{PASSWORD}@127.0.0.1/test?sslmod=require",
        f"app:{PASSWORD}",
    ],
    ids=["scheme", "parameter", "no-url"],
)
def test_wrong_url_is_refused(
    environments: Environments, bake: Bakery, tmp_path: Path, url: str
) -> None:
    variant = VARIANTS[0]
    path = working_copy(bake(variant), tmp_path)
    outcome = run_tests(environments(variant.driver), path, TEST_DATABASE_URL=url)
    assert outcome.completed.returncode == USAGE_ERROR, outcome.output
    assert "TEST_DATABASE_URL" in outcome.completed.stderr
    assert "Traceback" not in outcome.output
    assert PASSWORD not in outcome.output
