"""What a request's session commits, what it refuses, and what a client hears of it."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

import pytest
from fastapi import Depends
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import func, literal, text
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    PendingRollbackError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core.checks import watch
from app.core.database import read_engine
from app.core.session import SessionUseError, read_session_scope, session_scope
from app.dependencies import ReadSessionDep, SessionDep
from app.errors import Application
from app.models import User
from tests import needs_postgres, postgres_url
from tests.conftest import Sessions, bound_to

probe = Application()


def ada() -> User:
    """A user that is not stored yet."""
    return User(name="Ada", email="ada@example.com")


async def caller(session: ReadSessionDep) -> AsyncSession:
    """The session that a dependency reads with."""
    await session.exec(select(User))
    return session


@probe.post("/shared")
async def add_and_read(
    first: Annotated[AsyncSession, Depends(caller)],
    writer: SessionDep,
    reader: ReadSessionDep,
) -> bool:
    """Add a user, and read it again."""
    writer.add(ada())
    await writer.flush()
    users = (await reader.exec(select(User))).all()
    return first is writer is reader and len(users) == 1


@probe.post("/error", status_code=201)
async def add_then_fail(session: SessionDep) -> None:
    """Add a user, then fail."""
    session.add(ada())
    await session.flush()
    raise LookupError


@probe.post("/orphan", status_code=201)
async def add_orphan(session: SessionDep) -> None:
    """Add a row that its table refuses at COMMIT."""
    connection = await session.connection()
    await connection.execute(text("INSERT INTO child (parent_id) VALUES (1)"))


@probe.get("/slow")
async def time_out() -> None:
    """Fail as a request to another server does that takes too long."""
    raise TimeoutError


@probe.get("/full")
async def exhaust_pool() -> None:
    """Fail as a pool does that has no connection left."""
    raise PoolTimeoutError


@probe.get("/lost")
async def lose_connection() -> None:
    """Fail as COMMIT does after a route has caught that its connection was lost."""
    raise PendingRollbackError("", code="8s2b")


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


async def stored_users(sessions: Sessions) -> int:
    """How many users the test's database holds."""
    async with sessions() as session:
        return len((await session.exec(select(User))).all())


async def test_dependencies_share_a_session(
    probe_client: AsyncClient, sessions: Sessions
) -> None:
    assert (await probe_client.post("/shared")).json() is True
    assert await stored_users(sessions) == 1


async def test_failed_request_is_rolled_back(
    probe_client: AsyncClient, sessions: Sessions
) -> None:
    response = await probe_client.post("/error")

    assert response.status_code == 500
    assert await stored_users(sessions) == 0


async def test_commit_that_fails_is_not_a_success(
    probe_client: AsyncClient, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        for table in (
            "parent (id INTEGER PRIMARY KEY)",
            "child (parent_id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        ):
            await connection.execute(text(f"CREATE TEMPORARY TABLE {table}"))
        await connection.commit()
        with bound_to(connection):
            response = await probe_client.post("/orphan")

    # SQLite has no code for what it refuses.
    assert response.status_code == (409 if postgres_url() else 500)


@pytest.mark.parametrize("path", ["/full", "/lost"])
async def test_connection_that_is_not_to_be_had(
    probe_client: AsyncClient, path: str
) -> None:
    response = await probe_client.get(path)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_other_server_that_is_slow(probe_client: AsyncClient) -> None:
    assert (await probe_client.get("/slow")).status_code == 500


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        pytest.param("08006", 503, id="connection-failure"),
        pytest.param("22001", 422, id="text-too-long"),
        pytest.param("23502", 500, id="not-null"),
        pytest.param("23503", 409, id="foreign-key"),
        pytest.param("23505", 409, id="unique"),
        pytest.param("23514", 422, id="check"),
        pytest.param("42P01", 500, id="table-of-no-model"),
        pytest.param("23P01", 409, id="exclusion"),
        pytest.param("25001", 500, id="active-transaction"),
        pytest.param("25006", 503, id="read-only"),
        pytest.param("40001", 503, id="serialization-failure"),
        pytest.param("42601", 500, id="syntax-error"),
        pytest.param("53300", 503, id="too-many-connections"),
        pytest.param("55000", 500, id="prerequisite"),
        pytest.param("55P03", 503, id="lock-timeout"),
        pytest.param("57014", 503, id="statement-timeout"),
        pytest.param("57P01", 503, id="shutdown"),
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


@pytest.mark.usefixtures("sessions")
async def test_scope_commits_and_objects_stay_readable() -> None:
    async with session_scope() as session:
        user = ada()
        session.add(user)

    assert user.name == "Ada"
    async with read_session_scope() as session:
        assert len((await session.exec(select(User))).all()) == 1


@pytest.mark.usefixtures("sessions")
async def test_session_ends_with_its_scope() -> None:
    async with session_scope() as session:
        pass

    with pytest.raises(SessionUseError, match=r"async with session_scope\(\)"):
        session.add(ada())
    with pytest.raises(SessionUseError, match=r"async with session_scope\(\)"):
        await session.exec(select(User))


async def test_session_that_only_reads_refuses_changes(sessions: Sessions) -> None:
    with pytest.raises(SessionUseError, match="save a User: take SessionDep"):
        async with read_session_scope() as session:
            session.add(ada())

    assert await stored_users(sessions) == 0


@pytest.mark.usefixtures("sessions")
async def test_session_that_only_reads_refuses_what_needs_a_transaction() -> None:
    async with read_session_scope() as session:
        with pytest.raises(SessionUseError, match="stream rows"):
            await session.stream(select(User))
        with pytest.raises(SessionUseError, match="lock rows"):
            await session.exec(select(User).with_for_update())
        with pytest.raises(SessionUseError, match="cannot write"):
            await session.exec(update(User).values(name="Eve"))


@needs_postgres
async def test_reads_work_without_a_transaction(engine: AsyncEngine) -> None:
    reading = engine.execution_options(**read_engine.get_execution_options())
    with bound_to(reading):
        async with read_session_scope() as session:
            first = (await session.exec(select(func.now()))).one()
            second = (await session.exec(select(func.now()))).one()

    assert first < second  # In a transaction, now() stands still.


async def ignore_an_error() -> None:
    async with session_scope() as session:
        with suppress(DBAPIError):
            await session.exec(select(1 / literal(0)))


@needs_postgres
async def test_caught_error_is_not_committed(engine: AsyncEngine) -> None:
    watch(engine)
    with bound_to(engine), pytest.raises(InvalidRequestError, match="begin_nested"):
        await ignore_an_error()


@needs_postgres
async def test_error_caught_around_a_savepoint(engine: AsyncEngine) -> None:
    watch(engine)
    with bound_to(engine):
        async with session_scope() as session:
            with suppress(DBAPIError):
                async with session.begin_nested():
                    await session.exec(select(1 / literal(0)))
            assert (await session.exec(select(1))).one() == 1


async def test_constraint_is_checked_at_once(sessions: Sessions) -> None:
    async with sessions() as session:
        for email in ("ada@example.com", "ADA@example.com"):
            session.add(User(name="Ada", email=email))
        with pytest.raises(IntegrityError):
            await session.flush()
