"""Fixtures: a database of its own for every test, on SQLite or on PostgreSQL."""

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.config import Config
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core import database
from app.core.database_url import parse_database_url
from app.core.driver import LOOP_FACTORY, connect_arguments
from app.core.session import async_session, read_session
from app.dev import embedded_postgres
from app.main import app
from tests import postgres_url

Sessions = async_sessionmaker[AsyncSession]
T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run on PostgreSQL without a server that is there already."""
    parser.addoption(
        "--postgres",
        action="store_true",
        help="run on a PostgreSQL of its own, not on SQLite; TEST_DATABASE_URL names another",
    )


def pytest_asyncio_loop_factories() -> dict[str, Any]:
    """Run the tests on the event loop that the driver needs."""
    return {"driver": LOOP_FACTORY}


def run_in_new_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on an event loop of its own, as jobs do."""
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        return runner.run(main)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the database. The processes of pytest-xdist find it in the environment."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        give_own_database(worker)
    elif url := postgres_url():
        refuse_what_is_not_for_tests(url)
    elif config.getoption("postgres"):
        start_postgres(config)
    else:
        refuse_what_sqlite_cannot_hold()


def give_own_database(worker: str) -> None:
    """Let each process of pytest-xdist empty a PostgreSQL database of its own."""
    if url := postgres_url():
        address, mark, query = url.partition("?")
        os.environ["TEST_DATABASE_URL"] = f"{address}_{worker}{mark}{query}"


def start_postgres(config: pytest.Config) -> None:
    """Start PostgreSQL in a new folder, until the tests are over."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(TemporaryDirectory()), "data")
        try:
            url = stack.enter_context(embedded_postgres(data))
        except SystemExit as stop:
            raise pytest.UsageError(str(stop)) from None
        os.environ["TEST_DATABASE_URL"] = url
        config.add_cleanup(stack.pop_all().close)


def refuse_what_is_not_for_tests(url: str) -> None:
    """Raise UsageError for a database that the tests must not empty."""
    try:
        name = parse_database_url(url).url.database or ""
    except ValueError as error:
        msg = f"TEST_DATABASE_URL {error}"
        raise pytest.UsageError(msg) from None
    if not {"test", "tests"} & set(re.split(r"[^a-z]+", name.lower())):
        msg = (
            f"TEST_DATABASE_URL names the database {name!r}, which the tests would"
            " empty. Name one for tests, such as 'test' or 'app_test'."
        )
        raise pytest.UsageError(msg)


def refuse_what_sqlite_cannot_hold() -> None:
    """Name the first column or table that PostgreSQL alone can have."""
    for table in SQLModel.metadata.sorted_tables:
        for column in table.columns:
            if not sqlite_can("CREATE TABLE one ({})", CreateColumn(column)):
                refuse_for_sqlite(f"{table}.{column.name}")
        if not sqlite_can("{}", CreateTable(table), *map(CreateIndex, table.indexes)):
            refuse_for_sqlite(str(table))


def sqlite_can(form: str, *parts: CreateColumn | CreateTable | CreateIndex) -> bool:
    """Whether SQLite runs each statement: `form`, with one of `parts` in it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            for part in parts:
                ddl = str(part.compile(dialect=sqlite.dialect()))
                connection.execute(form.format(ddl))
        except (CompileError, sqlite3.Error):
            return False
        return True


def refuse_for_sqlite(name: str) -> None:
    """Raise UsageError: SQLite has nothing for the column or table of that name."""
    msg = f"SQLite cannot hold {name} of the models: run the tests with --postgres"
    raise pytest.UsageError(msg)


def postgres_engine(url: str, database: str | None = None) -> AsyncEngine:
    """An engine without a pool, so that every test's event loop has its own."""
    target = parse_database_url(url)
    arguments = connect_arguments(
        target.parameters, application_name="tests", connect_timeout=5
    )
    return create_async_engine(
        target.url.set(database=database),
        poolclass=NullPool,
        connect_args=arguments,
    )


def sqlite_engine() -> AsyncEngine:
    """An engine on a database in memory that lives as long as the engine."""
    engine = create_async_engine("sqlite+aiosqlite://")
    event.listen(engine.sync_engine, "connect", enforce_foreign_keys)
    return engine


def enforce_foreign_keys(connection: Any, _entry: object) -> None:
    """Make SQLite check foreign keys, which it leaves alone by default."""
    connection.execute("PRAGMA foreign_keys = ON")


@pytest.fixture(scope="session")
def run_alembic() -> Callable[..., None]:
    """Run an Alembic command on the test database: `run_alembic(command.check)`."""
    config = Config(Path(__file__).parents[1] / "alembic.ini")

    def run(function: Callable[..., Any], *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("{{ cookiecutter.__direct_url_variable }}", postgres_url())
            function(config, *arguments)

    return run


@pytest.fixture(scope="session")
def schema(run_alembic: Callable[..., None]) -> None:
    """Build the schema with Alembic in an empty PostgreSQL database."""
    if postgres_url() and "PYTEST_XDIST_WORKER" in os.environ:
        run_in_new_loop(create_database(postgres_url()))
    build_schema(run_alembic)


@pytest.fixture
def schema_restored(run_alembic: Callable[..., None]) -> Iterator[None]:
    """Build the schema again after a test that may leave it broken."""
    yield
    build_schema(run_alembic)


def build_schema(run_alembic: Callable[..., None]) -> None:
    """Empty the PostgreSQL database, if there is one, and migrate it."""
    if postgres_url():
        run_in_new_loop(empty_database(postgres_url()))
        run_alembic(command.upgrade, "head")


async def create_database(url: str) -> None:
    """Create the database of a pytest-xdist process, beside the one that was named."""
    name = parse_database_url(url).url.database or ""
    engine = postgres_engine(url, database=name.rpartition("_")[0])
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with autocommit.connect() as connection:
        query = text("SELECT oid FROM pg_database WHERE datname = :name")
        if not (await connection.execute(query, {"name": name})).all():
            await connection.execute(text(f'CREATE DATABASE "{name}"'))
    await engine.dispose()


async def empty_database(url: str) -> None:
    """Drop everything in the schema `public`, and the other schemas of the models."""
    engine = postgres_engine(url)
    schemas = {table.schema or "public" for table in SQLModel.metadata.tables.values()}
    async with engine.begin() as connection:
        for schema in schemas | {"public"}:
            await connection.execute(text(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()


@pytest.fixture
async def engine(schema: None) -> AsyncIterator[AsyncEngine]:  # noqa: ARG001
    """The engine of the test's database."""
    if postgres_url():
        engine = postgres_engine(postgres_url())
    else:
        engine = sqlite_engine()
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
    yield engine
    await engine.dispose()


@contextmanager
def bound_to(bind: AsyncEngine | AsyncConnection, **options: Any) -> Iterator[None]:
    """Let the app's sessions work on `bind`, wherever their factories are imported."""
    before = [dict(factory.kw) for factory in (async_session, read_session)]
    for factory in (async_session, read_session):
        factory.configure(bind=bind, **options)
    yield
    for factory, options_before in zip(
        (async_session, read_session), before, strict=True
    ):
        factory.kw.clear()
        factory.kw.update(options_before)


@pytest.fixture
async def sessions(engine: AsyncEngine) -> AsyncIterator[Sessions]:
    """The app's sessions on the test's database; their commits are undone after it."""
    if not postgres_url():
        with bound_to(engine):
            yield async_session
        return
    async with engine.connect() as connection:
        transaction = await connection.begin()
        with bound_to(connection, join_transaction_mode="create_savepoint"):
            yield async_session
        await transaction.rollback()


@pytest.fixture
async def client(
    engine: AsyncEngine,
    sessions: Sessions,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[AsyncClient]:
    """A client of the app, which works on the test's database."""
    monkeypatch.setattr(database, "readiness_engine", engine)
    async with AsyncClient(
        transport=ASGITransport(app), base_url="http://test"
    ) as client:
        yield client


@pytest.fixture
async def offline_client() -> AsyncIterator[AsyncClient]:
    """A client of the app as it is, with an engine that reaches no server."""
    async with AsyncClient(
        transport=ASGITransport(app), base_url="http://test"
    ) as client:
        yield client
