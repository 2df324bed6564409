"""What a request's session commits, and what a client hears of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import func, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core import database
from app.core.database import SessionDep
from app.errors import register_error_handlers
from app.models import User
from tests import needs_postgres
from tests.conftest import Sessions

probe = FastAPI()
register_error_handlers(probe)


@probe.post("/error", status_code=201)
async def add_then_fail(session: SessionDep) -> None:
    """Add a user, then fail."""
    session.add(User(name="Ada", email="ada@example.com"))
    await session.flush()
    raise LookupError


@probe.post("/orphan", status_code=201)
async def add_orphan(session: SessionDep) -> None:
    """Add a row that its table refuses at COMMIT."""
    connection = await session.connection()
    await connection.execute(text("INSERT INTO child (parent_id) VALUES (1)"))


@probe.get("/slow")
async def time_out() -> None:
    """Fail as a command does that takes too long."""
    raise TimeoutError


@probe.get("/full")
async def exhaust_pool() -> None:
    """Fail as a pool does that has no connection left."""
    raise PoolTimeoutError


class ServerError(Exception):
    """An error as a driver raises it: `sqlstate` is the server's code."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__()
        self.sqlstate = sqlstate


@probe.get("/server-error/{sqlstate}")
async def fail_as_server(sqlstate: str) -> None:
    """Fail as a statement does that the server refuses."""
    error = ServerError(sqlstate)
    raise DBAPIError(statement=None, params=None, orig=error)


@pytest.fixture
async def probe_client() -> AsyncIterator[AsyncClient]:
    """A client of the app that these tests are about."""
    transport = ASGITransport(probe, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_failed_request_is_rolled_back(
    probe_client: AsyncClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "async_session", sessions)

    response = await probe_client.post("/error")

    assert response.status_code == 500
    async with sessions() as session:
        assert (await session.exec(select(User))).all() == []


async def test_commit_that_fails_is_not_a_success(
    probe_client: AsyncClient, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine.connect() as connection:
        for table in (
            "parent (id INTEGER PRIMARY KEY)",
            "child (parent_id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        ):
            await connection.execute(text(f"CREATE TEMPORARY TABLE {table}"))
        await connection.commit()
        sessions = async_sessionmaker(connection, class_=AsyncSession)
        monkeypatch.setattr(database, "async_session", sessions)

        response = await probe_client.post("/orphan")

        assert response.status_code == 409


@pytest.mark.parametrize("path", ["/slow", "/full"])
async def test_database_that_is_too_slow_or_full(
    probe_client: AsyncClient, path: str
) -> None:
    response = await probe_client.get(path)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        pytest.param("25006", 503, id="read-only"),
        pytest.param("40001", 503, id="serialization-failure"),
        pytest.param("53300", 503, id="too-many-connections"),
        pytest.param("57P01", 503, id="shutdown"),
        pytest.param("25001", 500, id="active-transaction"),
        pytest.param("42601", 500, id="syntax-error"),
    ],
)
async def test_server_error(
    probe_client: AsyncClient, sqlstate: str, status: int
) -> None:
    response = await probe_client.get(f"/server-error/{sqlstate}")

    assert response.status_code == status


async def test_unreachable_database(offline_client: AsyncClient) -> None:
    response = await offline_client.get("/users")

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert "127.0.0.1" not in response.text


async def test_objects_stay_readable_after_commit(sessions: Sessions) -> None:
    bind = sessions.kw["bind"]
    async with database.async_session(
        bind=bind, join_transaction_mode="create_savepoint"
    ) as session:
        user = User(name="Ada", email="ada@example.com")
        session.add(user)
        await session.commit()

        assert user.name == "Ada"


async def test_read_session_writes_nothing(sessions: Sessions) -> None:
    async with database.read_session(bind=sessions.kw["bind"]) as session:
        session.add(User(name="Ada", email="ada@example.com"))

        assert (await session.exec(select(User))).all() == []


@needs_postgres
async def test_reads_work_without_a_transaction(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        database,
        "read_session",
        async_sessionmaker(
            engine.execution_options(**database.read_engine.get_execution_options()),
            class_=AsyncSession,
        ),
    )
    async with asynccontextmanager(database.get_read_session)() as session:
        first = (await session.exec(select(func.now()))).one()
        second = (await session.exec(select(func.now()))).one()

    assert first < second  # In a transaction, now() stands still.


async def test_constraint_is_checked_at_once(sessions: Sessions) -> None:
    async with sessions() as session:
        for email in ("ada@example.com", "ADA@example.com"):
            session.add(User(name="Ada", email=email))
        with pytest.raises(IntegrityError):
            await session.flush()
