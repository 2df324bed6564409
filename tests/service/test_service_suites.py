"""The tests of the rendered services pass, and fail when a service is broken."""

import os
import socket
import tempfile
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from lab.copies import replace_once, run_with, working_copy
from lab.projects import Bakery
from lab.servers import Database, Server, nearest
from lab.services import ServiceEnvironment, install
from lab.variants import VARIANTS, Variant

NEEDS_POSTGRES = "needs PostgreSQL: set TEST_DATABASE_URL"
USAGE_ERROR = 4
PASSWORD = "s3cret"  # noqa: S105 (of servers that are not there)

Environments = Callable[[str], ServiceEnvironment]


@dataclass(frozen=True)
class Outcome:
    """What a run of a service's tests reports."""

    completed: CompletedProcess[str]
    tests: frozenset[str]
    skipped: dict[str, str]
    failed: frozenset[str]

    @property
    def output(self) -> str:
        """Everything that the run printed."""
        return self.completed.stdout + self.completed.stderr


def run_tests(
    environment: ServiceEnvironment, path: Path, *options: str, **variables: str
) -> Outcome:
    """Run the tests of the service at `path` with `variables` set."""
    options = ("-p", "no:cacheprovider", *options)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = ("pytest", f"--junitxml={report}", *options)
        completed = run_with(variables, environment, path, *command, check=False)
        cases = read_report(report) if report.is_file() else {}
    return Outcome(
        completed,
        tests=frozenset(cases),
        skipped={
            name: skip.get("message", "")
            for name, case in cases.items()
            for skip in case.findall("skipped")
        },
        failed=frozenset(
            name
            for name, case in cases.items()
            if case.find("failure") is not None or case.find("error") is not None
        ),
    )


def read_report(report: Path) -> dict[str, ET.Element]:
    """Return what pytest reported of each test, by its module and name."""
    return {
        f"{case.get('classname')}.{case.get('name')}": case
        for case in ET.parse(report).iter("testcase")  # noqa: S314 (pytest wrote it)
    }


def assert_passed(outcome: Outcome) -> None:
    """Require that some tests ran, and that all passed."""
    assert outcome.completed.returncode == 0, outcome.output
    assert not outcome.failed
    assert outcome.tests


def assert_success(outcome: Outcome) -> None:
    """Require that some tests ran, that all passed, and that nothing was warned of."""
    assert_passed(outcome)
    assert "warnings summary" not in outcome.output, outcome.output


@pytest.fixture
def path(bake: Bakery, variant: Variant, tmp_path: Path) -> Path:
    """Return a copy of the project of every variant."""
    return working_copy(bake(variant), tmp_path)


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
    }


def run_both(
    environment: ServiceEnvironment,
    path: Path,
    database: Database,
    *options: str,
    **variables: str,
) -> tuple[Outcome, Outcome]:
    """Run the tests on SQLite and, at the same time, on a PostgreSQL database."""
    with ThreadPoolExecutor() as threads:
        on_sqlite = threads.submit(run_tests, environment, path, *options, **variables)
        variables["TEST_DATABASE_URL"] = database.url
        on_postgres = run_tests(environment, path, *options, **variables)
        return on_sqlite.result(), on_postgres


# Every variant


def test_on_sqlite_and_on_postgres(
    environment: ServiceEnvironment,
    path: Path,
    variant: Variant,
    postgres_of: Callable[[int], Server],
) -> None:
    database = postgres_of(nearest(variant.postgres_version)).create_database()
    on_sqlite, on_postgres = run_both(environment, path, database)

    assert_success(on_sqlite)
    assert on_sqlite.skipped
    assert set(on_sqlite.skipped.values()) == {NEEDS_POSTGRES}

    assert_success(on_postgres)
    assert on_postgres.skipped == {}
    assert on_postgres.tests == on_sqlite.tests
    assert database.execute("SELECT count(*) FROM users") == [(0,)]
    assert database.execute("SELECT version_num FROM alembic_version") == [("0001",)]


# One variant of each database


def one_of_each(*names: str) -> list[Variant]:
    """Return the first variant of each combination of those answers."""
    chosen: dict[tuple[object, ...], Variant] = {}
    for variant in VARIANTS:
        chosen.setdefault(tuple(getattr(variant, name) for name in names), variant)
    return list(chosen.values())


each_database = pytest.mark.parametrize("variant", one_of_each("database"), ids=str)
each_driver = pytest.mark.parametrize("variant", one_of_each("driver"), ids=str)


@each_database
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


@each_driver
def test_second_run_on_the_same_database(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    database = postgres.create_database()
    for _ in range(2):
        assert_success(run_tests(environment, path, TEST_DATABASE_URL=database.url))


@each_driver
def test_sqlite_leaves_no_file(environment: ServiceEnvironment, path: Path) -> None:
    before = {file for file in path.rglob("*") if file.is_file()}
    assert_success(run_tests(environment, path, PYTHONDONTWRITEBYTECODE="1"))
    assert {file for file in path.rglob("*") if file.is_file()} == before


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
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    if database.execute(tables) != [("precious",)]:
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


@each_driver
@pytest.mark.parametrize("prefix", ["app", "contest"])
def test_database_that_is_not_for_tests_is_untouched(
    environment: ServiceEnvironment, path: Path, postgres: Server, prefix: str
) -> None:
    with precious_database(postgres, prefix) as database:
        outcome = run_tests(environment, path, TEST_DATABASE_URL=database.url)
        assert_refused(outcome, database.name)
        assert is_still_there(database)


@each_driver
def test_database_for_tests_is_emptied(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    """What would happen to a database that the tests should have refused."""
    with precious_database(postgres, "app_test") as database:
        assert_success(run_tests(environment, path, TEST_DATABASE_URL=database.url))
        assert not is_still_there(database)


@pytest.mark.parametrize(
    "name", ["app", "contest", "latest", "attestation", "postgres", "neondb", ""]
)
def test_name_does_not_say_test(
    environments: Environments, bake: Bakery, tmp_path: Path, decoy: Decoy, name: str
) -> None:
    variant = VARIANTS[0]
    path = working_copy(bake(variant), tmp_path)
    outcome = run_tests(
        environments(variant.driver),
        path,
        "--collect-only",
        TEST_DATABASE_URL=decoy.url(name),
    )
    assert_refused(outcome, name)
    assert decoy.connections == 0


@pytest.mark.parametrize("name", ["test", "app_test", "tests-of-app", "Test1"])
def test_name_says_test(
    environments: Environments, bake: Bakery, tmp_path: Path, decoy: Decoy, name: str
) -> None:
    variant = VARIANTS[0]
    path = working_copy(bake(variant), tmp_path)
    outcome = run_tests(
        environments(variant.driver),
        path,
        "--collect-only",
        "-q",
        TEST_DATABASE_URL=decoy.url(name),
    )
    assert outcome.completed.returncode == 0, outcome.output


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


# A broken service fails its own tests


@dataclass(frozen=True)
class Mutant:
    """A defect that somebody might put into a service, and the test that finds it."""

    file: str
    old: str
    new: str
    found_by: str
    answers: Mapping[str, object]
    on_postgres: bool = False


ASYNCPG = {"driver": "asyncpg"}
PSYCOPG = {"driver": "psycopg"}
POOLED = {"pool": "queuepool"}
NEON = {"database": "neon"}
DATABASE = "app/core/database.py"
POOL = "app/core/pool.py"
DRIVER = "app/core/driver.py"
MUTANTS = {
    "no-commit": Mutant(
        DATABASE,
        "        await session.commit()\n",
        "",
        "test_users.test_create_and_read",
        {},
    ),
    "commit-after-response": Mutant(
        DATABASE,
        'Depends(get_session, scope="function")',
        "Depends(get_session)",
        "test_sessions.test_commit_that_fails_is_not_a_success",
        {},
    ),
    "commit-after-response-on-postgres": Mutant(
        DATABASE,
        'Depends(get_session, scope="function")',
        "Depends(get_session)",
        "test_sessions.test_commit_that_fails_is_not_a_success",
        {},
        on_postgres=True,
    ),
    "expires-on-commit": Mutant(
        DATABASE,
        "async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)",
        "async_sessionmaker(engine, class_=AsyncSession)",
        "test_sessions.",
        {},
    ),
    "statement-cache": Mutant(
        DATABASE,
        '        "statement_cache_size": 0,\n',
        "",
        "test_database.test_statements_are_not_cached",
        NEON | ASYNCPG,
    ),
    "prepared-statement-cache": Mutant(
        DATABASE,
        '        "prepared_statement_cache_size": 0,\n',
        "",
        "test_database.test_statements_are_not_cached",
        {"database": "pgbouncer"} | ASYNCPG,
    ),
    "prepared-statements": Mutant(
        DATABASE,
        '        "prepare_threshold": None,\n',
        "",
        "test_database.test_statements_are_not_cached",
        NEON | PSYCOPG,
    ),
    "stale-connections": Mutant(
        DATABASE,
        "check_before_use(engine)\n",
        "",
        "test_pool.test_app_checks_its_connections",
        POOLED,
    ),
    "pool-of-sqlalchemy": Mutant(
        DATABASE,
        "    poolclass=SteadyQueuePool,\n",
        "",
        "test_database.test_pool",
        POOLED,
    ),
    "overflow-closed-at-once": Mutant(
        POOL,
        "            self.spare.append((monotonic(), record))\n",
        "            super()._do_return_conn(record)\n",
        "test_pool.test_busy_pool_keeps_its_connections",
        POOLED,
    ),
    "overflow-kept-for-ever": Mutant(
        POOL,
        "        self._close_longest_idle()\n",
        "",
        "test_pool.test_pool_shrinks_to_its_size",
        POOLED,
    ),
    "overflow-left-open": Mutant(
        POOL,
        "            entry.close()\n",
        "",
        "test_pool.test_disposed_pool_is_empty",
        POOLED,
    ),
    "reads-that-do-not-queue": Mutant(
        DATABASE,
        "admission.place(), read_session()",
        "read_session()",
        "test_pool.test_requests_wait_for_a_place[GET]",
        POOLED,
    ),
    "writes-that-do-not-queue": Mutant(
        DATABASE,
        "admission.place(), async_session()",
        "async_session()",
        "test_pool.test_requests_wait_for_a_place[POST]",
        POOLED,
    ),
    "reads-that-write": Mutant(
        DATABASE,
        ", autoflush=False",
        "",
        "test_sessions.test_read_session_writes_nothing",
        {},
    ),
    "reads-in-transactions": Mutant(
        DATABASE,
        '.execution_options(isolation_level="AUTOCOMMIT")',
        "",
        "test_sessions.test_reads_work_without_a_transaction",
        {},
        on_postgres=True,
    ),
    "pool-size": Mutant(
        DATABASE,
        "pool_size=settings.db_pool_size",
        "pool_size=20",
        "test_database.test_pool",
        POOLED,
    ),
    "recycled-after-the-suspend": Mutant(
        "app/core/config.py",
        "db_pool_recycle: WholeSeconds = 280",
        "db_pool_recycle: WholeSeconds = 1800",
        "test_database.test_pool",
        NEON | POOLED,
    ),
    "pool-instead-of-none": Mutant(
        DATABASE,
        "    poolclass=NullPool,\n",
        "",
        "test_database.test_pool",
        {"pool": "nullpool"},
    ),
    "echo": Mutant(
        DATABASE,
        "echo=settings.debug",
        "echo=True",
        "test_database.test_statements_are_not_logged",
        {},
    ),
    "no-command-timeout": Mutant(
        DATABASE,
        '        "command_timeout": settings.db_command_timeout,\n',
        "",
        "test_database.test_time_limits",
        ASYNCPG,
    ),
    "pooled-url-for-migrations": Mutant(
        "app/core/neon.py",
        "    if is_pooled(url):",
        "    if not url:",
        "test_config.test_wrong_setting_stops_the_service",
        NEON,
    ),
    "password-in-message": Mutant(
        "app/core/environment.py",
        'return f"{variable} {reason}"',
        "return f\"{variable} {reason} {details['input']}\"",
        "test_config.test_wrong_setting_stops_the_service",
        {},
    ),
    "asyncpg-without-channel-binding": Mutant(
        DRIVER,
        ' or parameters.get("channel_binding") == "require"',
        "",
        "test_database_url.test_verified_certificate",
        ASYNCPG,
    ),
    "asyncpg-any-host": Mutant(
        DRIVER,
        'context.check_hostname = mode == "verify-full"',
        "context.check_hostname = False",
        "test_database_url.test_verified_certificate",
        ASYNCPG,
    ),
    "psycopg-without-channel-binding": Mutant(
        DRIVER,
        "        **parameters,\n",
        '        **{k: v for k, v in parameters.items() if k != "channel_binding"},\n',
        "test_database_url.test_parameters_are_passed_on_as_given",
        PSYCOPG,
    ),
    "psycopg-system-unverified": Mutant(
        DRIVER,
        '{"sslmode": "verify-full", "sslrootcert": public_ca_file()}',
        '{"sslrootcert": public_ca_file()}',
        "test_database_url.",
        PSYCOPG,
    ),
    "healthy-without-database": Mutant(
        "app/routers/health.py",
        "        status.HTTP_503_SERVICE_UNAVAILABLE,\n",
        "        status.HTTP_200_OK,\n",
        "test_health.test_database_refuses",
        {},
    ),
    "slow-health": Mutant(
        "app/routers/health.py",
        "TIME_LIMIT_SECONDS = 1",
        "TIME_LIMIT_SECONDS = 3",
        "test_health.test_database_is_silent",
        {},
    ),
    "case-in-model": Mutant(
        "app/models.py",
        "func.lower(User.email)",
        "User.email",
        "test_users.test_email_is_unique_whatever_its_case",
        {},
    ),
    "case-in-migration": Mutant(
        "alembic/versions/0001_create_users.py",
        'sa.literal_column("lower(email)")',
        '"email"',
        "test_users.test_email_is_unique_whatever_its_case",
        {},
        on_postgres=True,
    ),
    "drift": Mutant(
        "app/models.py",
        "name: str = Field(max_length=100)",
        "name: str = Field(max_length=99)",
        "test_migrations.test_down_and_up_again_without_drift",
        {},
        on_postgres=True,
    ),
    "no-downgrade": Mutant(
        "alembic/versions/0001_create_users.py",
        '    op.drop_table("users")\n',
        "",
        "test_migrations.test_down_and_up_again_without_drift",
        {},
        on_postgres=True,
    ),
    "unordered": Mutant(
        "app/routers/users.py",
        ".order_by(col(User.id))",
        "",
        "test_users.test_list_is_ordered_and_paged",
        {},
        on_postgres=True,
    ),
    "read-only-is-500": Mutant(
        "app/errors.py",
        '    "25006": "read only SQL transaction",\n',
        "",
        "test_sessions.test_server_error",
        {},
    ),
    "unavailable-is-500": Mutant(
        "app/errors.py",
        "    if is_unavailable(error):",
        "    if not error:",
        "test_sessions.test_unreachable_database",
        {},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found(
    environments: Environments,
    bake: Bakery,
    postgres: Server,
    tmp_path: Path,
    name: str,
) -> None:
    mutant = MUTANTS[name]
    variant = next(
        variant
        for variant in VARIANTS
        if mutant.answers.items() <= variant.answers.items()
    )
    path = working_copy(bake(variant), tmp_path)
    replace_once(path / mutant.file, mutant.old, mutant.new)
    variables = {}
    if mutant.on_postgres:
        variables["TEST_DATABASE_URL"] = postgres.create_database().url
    module, _, test = mutant.found_by.partition(".")
    files = [f"tests/{module}.py"] if test else []
    outcome = run_tests(environments(variant.driver), path, *files, **variables)
    assert outcome.completed.returncode == 1, outcome.output
    assert any(f"tests.{mutant.found_by}" in test for test in outcome.failed)
