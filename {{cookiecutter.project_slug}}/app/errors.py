"""Which response a failure of the database or of a request's data becomes."""

import logging
import re
from traceback import walk_tb
from typing import Any

from fastapi import FastAPI, Request, Response, status
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import SQLModel
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from app.core.driver import is_refused_value, is_stale_plan
from app.work import begin_request

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
# A route has caught that its connection was lost: https://sqlalche.me/e/21/8s2b
LOST_CONNECTION = "8s2b"
UNDEFINED_TABLE = "42P01"
MIGRATE = "run alembic upgrade head"
SERVER_ERROR = status.HTTP_500_INTERNAL_SERVER_ERROR
LOGGED = {
    status.HTTP_409_CONFLICT: logging.INFO,
    status.HTTP_503_SERVICE_UNAVAILABLE: logging.ERROR,
}

# Codes of https://www.postgresql.org/docs/current/errcodes-appendix.html, some of them
# classes. What stands in none of the three is a mistake of this service: 500.
CONFLICTS = {
    "23001": "The entry is still in use.",
    "23503": "The entry refers to one that does not exist, or is still in use.",
    "23505": "There is already such an entry.",
    "23P01": "The entry overlaps with another.",
}
REFUSED_VALUES = {
    "22": "data exception",
    "23514": "check violation",
}
OUTAGES = {
    "08": "connection exception",
    "25006": "read only SQL transaction",
    "25P03": "idle in transaction session timeout",
    "25P04": "transaction timeout",
    "28": "invalid authorization",
    "3D": "invalid database name",
    "40": "transaction rollback",
    "53": "insufficient resources",
    "55P03": "lock not available",
    "57": "operator intervention",
    "58": "system error",
}


class ErrorMessage(BaseModel):
    """The body of an error response."""

    detail: str


def documented(code: int, description: str) -> dict[int | str, dict[str, Any]]:
    """An entry for a route's `responses`."""
    entry = {"model": ErrorMessage, "description": description}
    return {code: entry}


BAD_REQUEST = documented(400, "The body cannot be read.")
NOT_FOUND = documented(404, "There is no such entry.")
CONFLICT = documented(409, "The change contradicts another entry.")
RESPONSES = documented(503, "The database is unavailable.")


class Application(FastAPI):
    """A FastAPI application that answers the errors of its database."""

    def __init__(self, **options: Any) -> None:
        """Take what FastAPI takes."""
        super().__init__(**options)
        self.exception_handler(SQLAlchemyError)(handle_database_error)
        self.exception_handler(RequestValidationError)(handle_invalid_request)
        self.exception_handler(HTTPException)(handle_http_exception)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the handlers do not see: middleware and mounted applications.

        A response with status 500 is held back until it is known which error it hides.
        """
        if scope["type"] in {"http", "websocket"}:
            send = begin_request(scope, send)
        held: list[Message] = []
        started = scope["type"] != "http"

        async def hold_errors(message: Message) -> None:
            nonlocal started
            if held or (not started and message.get("status") == SERVER_ERROR):
                held.append(message)
                return
            started = True
            await send(message)

        try:
            await super().__call__(scope, receive, hold_errors)
        except Exception as error:
            # So Starlette says that a mounted application has answered the error.
            answered = "response already started" in str(error)
            cause = error.__cause__ if answered else error
            response = None if started else database_error_response(cause)
            if response is not None:
                await response(scope, receive, send)
                return
            await send_all(held, send)
            raise
        await send_all(held, send)


async def send_all(messages: list[Message], send: Send) -> None:
    """Send what was held back."""
    for message in messages:
        await send(message)


async def handle_database_error(_: Request, error: Exception) -> JSONResponse:
    """Answer an error of the database.

    Raises `error` again if it is a mistake in this service.
    """
    response = database_error_response(error)
    if response is None:
        raise error
    return response


def database_error_response(error: BaseException | None) -> JSONResponse | None:
    """409 for a conflict, 422 for a value, 503 for a database that is unavailable.

    None for a mistake of this service.
    """
    lost = isinstance(error, SQLAlchemyError) and error.code == LOST_CONNECTION
    if lost or isinstance(error, PoolTimeoutError):
        return unavailable(reason(error))
    if not isinstance(error, DBAPIError):
        return None
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    if sqlstate in CONFLICTS:
        logger.info("refused: %s", reason(error))
        return JSONResponse({"detail": CONFLICTS[sqlstate]}, status.HTTP_409_CONFLICT)
    if sqlstate.startswith(tuple(REFUSED_VALUES)) or is_refused_value(error.orig):
        logger.info("refused a value: SQLSTATE %s", sqlstate)
        problem = {"type": "database", "loc": [], "msg": "The database refuses it."}
        return JSONResponse(
            {"detail": [problem]}, status.HTTP_422_UNPROCESSABLE_CONTENT
        )
    unmigrated = sqlstate == UNDEFINED_TABLE and names_a_model(error)
    if (
        unmigrated
        or sqlstate.startswith(tuple(OUTAGES))
        or (error.connection_invalidated and not sqlstate)
        or is_stale_plan(error.orig)
    ):
        return unavailable(reason(error) + f": {MIGRATE}" * unmigrated)
    return None


def unavailable(why: str) -> JSONResponse:
    """503 for a request that may succeed when it is sent again."""
    logger.error("database unavailable: %s", why)
    return JSONResponse(
        {"detail": "The database is unavailable. Try again later."},
        status.HTTP_503_SERVICE_UNAVAILABLE,
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def reason(error: BaseException | None) -> str:
    """One line that says what happened, without what may be a user's data.

    Of what the server says of a statement, that is all but the message itself.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause) or type(cause).__name__
    if getattr(cause, "sqlstate", None):
        text = text.partition("\n")[0]
    return " ".join(text.split())


def names_a_model(error: DBAPIError) -> bool:
    """Whether the server's message has the name of a model's table."""
    tables = {table.name for table in SQLModel.metadata.tables.values()}
    return not tables.isdisjoint(re.findall(r"\w+", reason(error)))


def violates(error: IntegrityError, constraint: str) -> bool:
    """Whether `error` says that a change breaks the constraint of that name."""
    return constraint in reason(error)


async def handle_http_exception(request: Request, error: Any) -> Response:
    """Answer what a route has raised, and log where it was if it is a 409 or a 503."""
    if level := LOGGED.get(error.status_code):
        *_, (frame, line) = walk_tb(error.__traceback__)
        cause = error.__cause__
        why = f": {reason(cause)}" if isinstance(cause, DBAPIError) else ""
        place = f"{frame.f_code.co_qualname}, line {line}"
        logger.log(level, "%s from %s%s", error.status_code, place, why)
    return await http_exception_handler(request, error)


async def handle_invalid_request(
    _: Request, error: RequestValidationError
) -> JSONResponse:
    """422 without FastAPI's echo of the input, which may not be writable as JSON."""
    problems = [
        {key: problem[key] for key in ("type", "loc", "msg")}
        for problem in error.errors()
    ]
    return JSONResponse({"detail": problems}, status.HTTP_422_UNPROCESSABLE_CONTENT)
