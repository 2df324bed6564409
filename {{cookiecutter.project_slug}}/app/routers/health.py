"""Liveness and readiness."""

import asyncio
from logging import getLogger
from typing import Any

from fastapi import APIRouter, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import text

from app.core import database
from app.errors import MIGRATE, RETRY_AFTER_SECONDS, reason

router = APIRouter(prefix="/health", tags=["health"])
logger = getLogger(__name__)

TIME_LIMIT_SECONDS = 1

running_checks: set[asyncio.Task[None]] = set()


class NoTablesError(Exception):
    """The database answers, and has not been migrated."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(f"there are no tables: {MIGRATE}")


class Liveness(BaseModel):
    """The body of a liveness probe's response."""

    status: str


class Readiness(BaseModel):
    """The body of a readiness probe's response."""

    status: str
    database: str


UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    status.HTTP_503_SERVICE_UNAVAILABLE: {
        "model": Readiness,
        "description": "The database did not answer in time, or has no tables.",
    },
}


@router.get("/live")
async def live() -> Liveness:
    """Say that the process serves requests."""
{%- if cookiecutter.__sleeps %}
    # No query here: a probe every few seconds would keep the compute awake and
    # billed: https://neon.com/docs/introduction/scale-to-zero
{%- else %}
    # No query here: to restart the service does not mend a database that is down.
    # https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
{%- endif %}
    return Liveness(status="alive")


@router.get("/db", responses=UNAVAILABLE, response_model=Readiness)
async def ready() -> Readiness | JSONResponse:
    """Say whether the database answers within a second. The log says why not."""
    check = current_check()
    await asyncio.wait({check}, timeout=TIME_LIMIT_SECONDS)
    found = "unavailable"
    if check.done() and not check.cancelled():
        error = check.exception()
        if error is None:
            return Readiness(status="healthy", database="connected")
        if isinstance(error, NoTablesError):
            found = str(error)
    check.cancel()
    body = Readiness(status="unhealthy", database=found)
    return JSONResponse(
        body.model_dump(),
        status.HTTP_503_SERVICE_UNAVAILABLE,
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def current_check() -> asyncio.Task[None]:
    """The check that runs, which probes share, or a new one."""
    for check in running_checks:
        if check.get_loop() is asyncio.get_running_loop() and not check.cancelling():
            return check
    check = asyncio.create_task(look_for_tables())
    # It goes on in the background, because a connection to a server that is gone
    # takes longer to close than a probe may wait.
    running_checks.add(check)
    check.add_done_callback(finish_check)
    return check


async def look_for_tables() -> None:
    """Ask for Alembic's table, without a lock; raises NoTablesError if it is missing."""
    query = text("SELECT to_regclass('alembic_version') IS NOT NULL")
    async with database.readiness_engine.connect() as connection:
        if not await connection.scalar(query):
            raise NoTablesError


def finish_check(check: asyncio.Task[None]) -> None:
    """Log why a check failed."""
    running_checks.discard(check)
    if check.cancelled():
        logger.error("database check: no answer in %s s", TIME_LIMIT_SECONDS)
    elif error := check.exception():
        logger.error("database check: %s", reason(error))
