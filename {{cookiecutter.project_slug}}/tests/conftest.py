"""Fixtures: a database of its own for every test, on SQLite or on PostgreSQL."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core import database
from app.core.database_url import parse_database_url
from app.core.driver import connect_arguments
from app.main import app
from tests import TEST_DATABASE_URL

Sessions = async_sessionmaker[AsyncSession]


def pytest_configure() -> None:
    """Refuse a database that is not for tests, because the tests empty it."""
    if not TEST_DATABASE_URL:
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


async def empty_database(url: str) -> None:
    """Drop everything in the schema `public`."""
    engine = postgres_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA IF EXISTS public CASCADE"))
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


@pytest.fixture
async def sessions(engine: AsyncEngine) -> AsyncIterator[Sessions]:
    """Sessions whose commits are undone after the test."""
    if not TEST_DATABASE_URL:
        yield async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
        return
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield async_sessionmaker(
            connection,
            class_=AsyncSession,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint",
        )
        await transaction.rollback()


@pytest.fixture
async def client(
    engine: AsyncEngine, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncClient]:
    """A client of the app, which works on the test's database."""
    monkeypatch.setattr(database, "read_engine", engine)
    monkeypatch.setattr(database, "async_session", sessions)
    monkeypatch.setattr(database, "read_session", sessions)
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
