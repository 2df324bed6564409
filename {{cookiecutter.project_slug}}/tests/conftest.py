"""Fixtures: a database of its own for every test, on SQLite or on PostgreSQL."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from sqlalchemy.schema import CreateTable
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core import database
from app.core.database_url import parse_database_url
from app.core.driver import connect_arguments
from app.core.session import async_session, read_session
from app.main import app
from tests import TEST_DATABASE_URL

Sessions = async_sessionmaker[AsyncSession]


def pytest_configure() -> None:
    """Refuse a database that is not for tests, because the tests empty it."""
    if not TEST_DATABASE_URL:
        refuse_what_sqlite_cannot_hold()
        return
    try:
        name = parse_database_url(TEST_DATABASE_URL).url.database or ""
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
    """Name the first table that needs a schema, or a type that is PostgreSQL's alone."""
    for table in SQLModel.metadata.sorted_tables:
        try:
            CreateTable(table).compile(dialect=sqlite.dialect())
            reason = table.schema and f"table {table.fullname!r} has a schema"
        except CompileError as error:
            reason = str(error)
        if reason:
            msg = (
                f"SQLite cannot hold a table of the models: {reason}."
                " Run the tests on PostgreSQL: set TEST_DATABASE_URL."
            )
            raise pytest.UsageError(msg)


def postgres_engine(url: str) -> AsyncEngine:
    """An engine without a pool, so that every test's event loop has its own."""
    target = parse_database_url(url)
    arguments = connect_arguments(
        target.parameters, application_name="tests", connect_timeout=5
    )
    return create_async_engine(target.url, poolclass=NullPool, connect_args=arguments)


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
            monkeypatch.setenv("{{ cookiecutter.__direct_url_variable }}", TEST_DATABASE_URL or "")
            function(config, *arguments)

    return run


@pytest.fixture(scope="session")
def schema(run_alembic: Callable[..., None]) -> None:
    """Build the schema with Alembic in an empty PostgreSQL database."""
    if TEST_DATABASE_URL and "PYTEST_XDIST_WORKER" in os.environ:
        asyncio.run(create_database(TEST_DATABASE_URL))
    build_schema(run_alembic)


@pytest.fixture
def schema_restored(run_alembic: Callable[..., None]) -> Iterator[None]:
    """Build the schema again after a test that may leave it broken."""
    yield
    build_schema(run_alembic)


def build_schema(run_alembic: Callable[..., None]) -> None:
    """Empty the PostgreSQL database, if there is one, and migrate it."""
    if TEST_DATABASE_URL:
        asyncio.run(empty_database(TEST_DATABASE_URL))
        run_alembic(command.upgrade, "head")


async def create_database(url: str) -> None:
    """Create the database of a pytest-xdist process, beside the one that was named."""
    target = parse_database_url(url).url
    named = target.set(database=(target.database or "").rpartition("_")[0])
    engine = postgres_engine(named.render_as_string(hide_password=False))
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with autocommit.connect() as connection:
        query = text("SELECT oid FROM pg_database WHERE datname = :name")
        if not (await connection.execute(query, {"name": target.database})).all():
            await connection.execute(text(f'CREATE DATABASE "{target.database}"'))
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
    if TEST_DATABASE_URL:
        engine = postgres_engine(TEST_DATABASE_URL)
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
    if not TEST_DATABASE_URL:
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
