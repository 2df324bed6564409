"""What the process works at, as the log names it: a request or a task."""

import asyncio
from contextvars import ContextVar
from typing import Any, cast

from starlette.types import Scope

# What the server says of a request. The router adds the route that it finds.
request: ContextVar[Scope | None] = ContextVar("request", default=None)


def current_work() -> Scope | asyncio.Task[Any]:
    """The request that runs, its background tasks included, or else the task."""
    return request.get() or cast("asyncio.Task[Any]", asyncio.current_task())


def name_of(work: Scope | asyncio.Task[Any]) -> str:
    """Such as `GET /users/{user_id}`: a request's method and route, or a task's function.

    Never the path that a client has asked for: it may hold a user's data.
    """
    if isinstance(work, asyncio.Task):
        return f"task {getattr(work.get_coro(), '__qualname__', work.get_name())}"
    route = work.get("route")
    return f"{work.get('method', 'WebSocket')} {route.path if route else '(no route)'}"
