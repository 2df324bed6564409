"""What teams add to a rendered service in their first week: routes, a middleware, a job.

A test copies this file into a service as `app/first_week.py`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    Request,
    Response,
    WebSocket,
)
from fastapi.responses import StreamingResponse
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from app.core.database import engine
from app.core.session import read_session_scope, session_scope
from app.dependencies import ReadSessionDep, SessionDep
from app.models import User

router = APIRouter(prefix="/week")
PAUSE_SECONDS = 0.05

# https://www.postgresql.org/docs/current/protocol-message-formats.html
FATAL_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
FATAL = b"E" + (len(FATAL_FIELDS) + 4).to_bytes(4, "big") + FATAL_FIELDS


def user(name: str) -> User:
    """Make a user whose address follows from the name."""
    return User(name=name, email=f"{name}@example.com")


# Sessions that are shared


async def current_user(session: ReadSessionDep) -> User | None:
    """Read a user, as an auth dependency does."""
    return (await session.exec(select(User).limit(1))).scalars().first()


async def audit(session: SessionDep) -> AsyncIterator[None]:
    """Write before and after the endpoint, as a dependency of one's own does."""
    await session.execute(text("SELECT 1"))
    yield
    await session.execute(text("SELECT 2"))


Caller = Annotated[User | None, Depends(current_user)]


@router.post("/shared/{name}", dependencies=[Depends(audit, scope="function")])
async def write_with_caller(
    name: str, caller: Caller, writer: SessionDep, reader: ReadSessionDep
) -> dict[str, bool]:
    """Read and write with every dependency at once."""
    await asyncio.sleep(PAUSE_SECONDS)
    writer.add(user(name))
    await writer.flush()
    seen = await reader.scalar(select(User.name).where(col(User.name) == name))
    return {
        "seen": seen == name,
        "same": reader is writer,
        "caller": caller is None or bool(caller.name),
    }


@router.patch("/caller/{name}")
async def rename_caller(name: str, caller: Caller, session: SessionDep) -> None:
    """Change what an auth dependency has read."""
    assert caller is not None
    assert caller in session
    caller.name = name


# Sessions that outlive their request


async def save(session: SessionDep, name: str) -> None:
    """Save a user in a session that was handed over."""
    session.add(user(name))
    await session.flush()


async def save_in_scope(name: str) -> None:
    """Save a user in a session of its own."""
    async with session_scope() as session:
        session.add(user(name))


@router.post("/late/{name}", status_code=202)
async def save_too_late(name: str, session: SessionDep, tasks: BackgroundTasks) -> None:
    """Hand the request's session to a background task."""
    tasks.add_task(save, session, name)


@router.post("/task/{name}", status_code=202)
async def save_in_task(name: str, tasks: BackgroundTasks) -> None:
    """Let a background task open a session of its own."""
    tasks.add_task(save_in_scope, name)


@router.get("/late")
async def stream_too_late(session: ReadSessionDep) -> StreamingResponse:
    """Stream from the request's session."""

    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        for name in (await session.scalars(select(User.name))).all():
            yield f"{name}\n"

    return StreamingResponse(lines())


@router.get("/stream")
async def stream() -> StreamingResponse:
    """Stream from a session of its own."""

    async def lines() -> AsyncIterator[str]:
        async with session_scope() as session:
            names = await session.stream_scalars(select(User.name))
            async for name in names:
                yield f"{name}\n"

    return StreamingResponse(lines())


@router.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    """Answer each message from a session of its own."""
    await websocket.accept()
    async for _ in websocket.iter_text():
        async with read_session_scope() as session:
            await websocket.send_text(str(await session.scalar(text("SELECT 42"))))


# Sessions that only read


@router.post("/reader/{action}")
async def write_in_reader(action: str, session: ReadSessionDep) -> None:
    """Do with a session that only reads what it cannot do."""
    if action == "add":
        session.add(user("ada"))
    elif action == "change":
        found = (await session.scalars(select(User))).first()
        assert found is not None
        found.name = "changed"
    elif action == "delete":
        await session.delete((await session.scalars(select(User))).first())
    elif action == "update":
        await session.execute(update(User).values(name="changed"))
    elif action == "stream":
        await session.stream(select(User))
    elif action == "lock":
        await session.execute(select(User).with_for_update())
    elif action == "same":
        found = (await session.scalars(select(User))).first()
        assert found is not None
        found.name = str(found.name)


# Errors


@router.post("/sql")
async def run_sql(request: Request, session: SessionDep) -> None:
    """Run the SQL of the body in a transaction."""
    await session.execute(text((await request.body()).decode()))


@router.get("/sql")
async def read_sql(query: str, session: ReadSessionDep) -> str:
    """Run SQL without a transaction."""
    return str(await session.scalar(text(query)))


@router.get("/ended")
async def read_from_ended_connection(session: ReadSessionDep) -> None:
    """Use a connection of which the server has said that it ends, not yet closed."""
    raw = await (await session.connection()).get_raw_connection()
    connection: Any = raw.driver_connection
    if connection.__module__.startswith("asyncpg"):
        connection._protocol.data_received(FATAL)
    else:  # psycopg hears nothing between two commands.
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    await session.execute(text("SELECT 1"))


@router.get("/number/{number}")
async def read_number(number: int, session: ReadSessionDep) -> None:
    """Give a number of any size to a statement that has begun to work."""
    await session.scalars(select(User).where(col(User.id) == number))


@router.post("/values/{kind}")
async def write_value(kind: str, session: SessionDep) -> None:
    """Save a value that the database cannot take."""
    fields: dict[str, object] = {"name": "ada", "email": "ada@example.com"}
    if kind == "text":
        fields["name"] = "a" * 1000
    elif kind == "nul":
        fields["name"] = "a\0b"
    elif kind == "naive":
        naive = datetime.now(UTC).replace(tzinfo=None)
        await session.execute(select(User).where(col(User.created_at) == naive))
    elif kind == "number":
        fields["id"] = 2**70
    elif kind == "null":
        fields["name"] = None
    session.add(User(**fields))


@router.post("/bug-after-conflict")
async def hide_conflict(session: SessionDep) -> None:
    """Fail because of a bug, in the place where a conflict is handled."""
    try:
        await session.execute(text("DO $$BEGIN RAISE unique_violation; END$$"))
    except IntegrityError as error:
        raise RuntimeError from error


@router.get("/parameters")
async def read_with_parameters(session: ReadSessionDep) -> None:
    """Send more parameters than the protocol has room for."""
    await session.scalars(select(User).where(col(User.id).in_(range(70_000))))


@router.get("/upstream")
async def call_upstream() -> None:
    """Wait too long for somebody else's server."""
    async with asyncio.timeout(0.01):
        await asyncio.sleep(1)


# What is outside of the routes

mounted = FastAPI()


@mounted.get("/users")
async def list_in_mounted(session: ReadSessionDep) -> int:
    """Read in an application that is mounted."""
    return len((await session.scalars(select(User))).all())


@mounted.get("/bug")
async def fail_in_mounted() -> None:
    """Fail in an application that is mounted."""
    raise LookupError


async def query_in_middleware(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Run a query before the request, if a header asks for it."""
    if "x-query" in request.headers:
        async with read_session_scope() as session:
            await session.execute(text("SELECT 1"))
    if "x-bug" in request.headers:
        raise LookupError
    return await call_next(request)


def extend(app: FastAPI) -> None:
    """Add all of this to the service."""
    app.include_router(router)
    app.mount("/mounted", mounted)
    app.middleware("http")(query_in_middleware)


# A job


async def count() -> None:
    """Count the users, and say how many there are."""
    async with read_session_scope() as session:
        names = (await session.scalars(select(User.name))).all()
        sys.stdout.write(f"{len(names)} users\n")


if __name__ == "__main__":
    asyncio.run(count())
    asyncio.run(count())
    if sys.argv[1:]:
        asyncio.run(engine.dispose())
