"""Which response a failure of the database or of a request's data becomes."""

from logging import getLogger
from typing import Any

from fastapi import FastAPI, HTTPException, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

logger = getLogger(__name__)

RETRY_AFTER_SECONDS = 5

# Codes of https://www.postgresql.org/docs/current/errcodes-appendix.html, most of them
# classes, that say nothing about the request: it may succeed when it is sent again.
UNAVAILABLE = {
    "08": "connection exception",
    "25006": "read only SQL transaction",
    "28": "invalid authorization",
    "3D": "invalid database name",
    "40": "transaction rollback",
    "53": "insufficient resources",
    "55": "object not in prerequisite state",
    "57": "operator intervention",
}


class ErrorMessage(BaseModel):
    """The body of an error response."""

    detail: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    status.HTTP_503_SERVICE_UNAVAILABLE: {
        "model": ErrorMessage,
        "description": "The database is unavailable.",
    },
}


def register_error_handlers(app: FastAPI) -> None:
    """Add this module's handlers to `app`."""
    app.exception_handler(SQLAlchemyError)(handle_database_error)
    app.exception_handler(TimeoutError)(handle_database_error)
    app.exception_handler(RequestValidationError)(handle_invalid_request)
    app.exception_handler(status.HTTP_405_METHOD_NOT_ALLOWED)(handle_wrong_method)


async def handle_database_error(_: Request, error: Exception) -> JSONResponse:
    """409 for a broken constraint, 503 for a database that did not do its part.

    Raises `error` again if it is neither: then it is a mistake in this service.
    """
    if isinstance(error, IntegrityError):
        logger.info("constraint refused: %s", error)
        return JSONResponse(
            {"detail": "The data conflicts with what is stored."},
            status.HTTP_409_CONFLICT,
        )
    if is_unavailable(error):
        logger.error("database unavailable: %s", str(error) or type(error).__name__)
        return JSONResponse(
            {"detail": "The database is unavailable. Try again later."},
            status.HTTP_503_SERVICE_UNAVAILABLE,
            {"Retry-After": str(RETRY_AFTER_SECONDS)},
        )
    raise error


def is_unavailable(error: Exception) -> bool:
    """Whether `error` says that the database is unreachable, full or too slow."""
    if isinstance(error, PoolTimeoutError | TimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return error.connection_invalidated or sqlstate.startswith(tuple(UNAVAILABLE))


async def handle_invalid_request(
    _: Request, error: RequestValidationError
) -> JSONResponse:
    """422 without FastAPI's echo of the input, which may not be writable as JSON."""
    problems = [
        {key: problem[key] for key in ("type", "loc", "msg")}
        for problem in error.errors()
    ]
    return JSONResponse({"detail": problems}, status.HTTP_422_UNPROCESSABLE_CONTENT)


async def handle_wrong_method(request: Request, error: HTTPException) -> JSONResponse:
    """405 that allows all methods of the path, where Starlette names one route's."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = request.app.openapi()["paths"].get(path, {})
    headers = {"Allow": ", ".join(methods).upper()} if methods else error.headers
    return JSONResponse({"detail": error.detail}, error.status_code, headers)
