"""What the process works at, as the log names it: a request or a task."""

import asyncio
import re
from contextvars import ContextVar
from typing import Any
from uuid import uuid4

from starlette.types import Message, Scope, Send

ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

# What the server says of a request. The router adds the route that it finds.
request: ContextVar[Scope | None] = ContextVar("request", default=None)


def begin_request(scope: Scope, send: Send) -> Send:
    """Let the log name the request of `scope` from now on.

    Its id is the X-Request-ID that a proxy has sent, or a new one. Returns a `send` that
    answers with it.
    """
    state = scope.setdefault("state", {})
    if "request_id" in state:  # A mounted application is part of the same request.
        return send
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    request_id = given if ACCEPTED_ID.fullmatch(given) else uuid4().hex
    state["request_id"] = request_id
    request.set(scope)

    async def send_with_id(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.accept"}:
            header = (b"x-request-id", request_id.encode())
            message["headers"] = [*message.get("headers", ()), header]
        await send(message)

    return send_with_id


def current_work() -> Scope | str:
    """The request that runs, its background tasks included, or else the task's name.

    Who keeps a task keeps its exception, and all that this has met: a connection, too.
    """
    if scope := request.get():
        return scope
    task: Any = asyncio.current_task()
    return f"task {getattr(task.get_coro(), '__qualname__', task.get_name())}"


def name_of(work: Scope | str) -> str:
    """Such as `GET /users/{user_id}`: a request's method and route, or a task's function.

    Never the path that a client has asked for: it may hold a user's data.
    """
    if isinstance(work, str):
        return work
    route = work.get("route")
    return f"{work.get('method', 'WebSocket')} {route.path if route else '(no route)'}"
