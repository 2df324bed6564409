"""The log says who holds connections, and never what a client has sent."""

import asyncio
import re
import weakref
from collections.abc import Awaitable, Callable

import pytest
from fastapi import BackgroundTasks, Request, Response, WebSocket
from fastapi.testclient import TestClient
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.util import greenlet_spawn

from app.core.fair_queue import FairQueue
from app.core.holders import Holder
from app.errors import Application
from app.work import current_work, name_of

probe = Application()
names: list[str] = []
HELD = re.compile(r"task enter has held a connection for 1\d\.\d s \(DB_HOLD_WARNING\)")


async def archive() -> None:
    names.append(name_of(current_work()))


@probe.middleware("http")
async def authenticate(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    if "authorization" in request.headers:
        await archive()
    return await call_next(request)


@probe.get("/reports/{name}")
async def read_report(name: str) -> str:
    await archive()
    return name


@probe.post("/reports/{name}")
async def archive_later(name: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(archive)
    return name


@probe.websocket("/reports/{name}")
async def follow_report(websocket: WebSocket) -> None:
    await websocket.accept()
    await archive()


@pytest.fixture
def client() -> TestClient:
    names.clear()
    return TestClient(probe)


def test_requests_are_named_by_their_routes(client: TestClient) -> None:
    client.get("/reports/ada?email=ada@example.com")
    client.post("/reports/ada")
    with client.websocket_connect("/reports/ada"):
        pass

    assert names == [
        "GET /reports/{name}",
        "POST /reports/{name}",
        "WebSocket /reports/{name}",
    ]


def test_middleware_has_no_route_yet(client: TestClient) -> None:
    client.get("/reports/ada", headers={"authorization": "s3cret"})

    assert names == ["GET (no route)", "GET /reports/{name}"]


async def test_task_is_named_by_its_function() -> None:
    names.clear()
    await asyncio.create_task(archive())

    assert names == ["task archive"]


async def enter(queue: FairQueue) -> Holder:
    return queue.enter()


async def test_ended_task_is_not_kept() -> None:
    queue = FairQueue(places=1, timeout=5)
    task = asyncio.create_task(enter(queue))
    await task
    ended = weakref.ref(task)

    del task
    await asyncio.sleep(0)

    assert queue.holders.in_order
    assert ended() is None


async def test_who_waits_in_vain_hears_who_holds_the_connections() -> None:
    queue = FairQueue(places=3, timeout=0.1)
    first = await asyncio.create_task(enter(queue))
    for _ in range(2):
        queue.enter()
    first.since -= 12.25

    with pytest.raises(PoolTimeoutError) as error:
        await greenlet_spawn(queue.enter)

    assert re.fullmatch(
        r"all 3 connections were in use for 0\.1 s \(DB_POOL_TIMEOUT\):"
        r" task enter 1, longest 1\d\.\d s; task test_who_waits_\w+ 2, longest \d\.\d s",
        str(error.value),
    )


async def test_slow_holder_is_named_when_it_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = FairQueue(places=2, timeout=5)
    quick, slow = queue.enter(), await asyncio.create_task(enter(queue))
    slow.since -= 12
    quick.since -= 2

    queue.leave(quick)
    queue.leave(slow)

    [message] = caplog.messages
    assert HELD.fullmatch(message)


async def test_forgotten_connection_is_told_once_to_those_who_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = FairQueue(places=1, timeout=0.01)
    forgotten = await asyncio.create_task(enter(queue))
    forgotten.since -= 12

    for _ in range(2):
        with pytest.raises(PoolTimeoutError):
            await greenlet_spawn(queue.enter)

    [message] = caplog.messages
    assert HELD.fullmatch(message)
