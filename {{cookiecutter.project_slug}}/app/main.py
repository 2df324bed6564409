"""The application: `uvicorn app.main:app`."""
{% from "text.j2" import python_string %}
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.core.database import engine
from app.errors import Application
from app.routers import health, teams, users
from app.telemetry import observe


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Prepare to serve, and close the database connections when the service stops."""
    # A full collection walks all imported modules and stops the service meanwhile:
    # https://docs.python.org/3/library/gc.html#gc.freeze
    gc.collect()
    gc.freeze()
    yield
    await engine.dispose()


observe(engine)
app = Application(
    title={{ python_string(cookiecutter.project_name) }},
    description={{ python_string(cookiecutter.description) }},
    lifespan=lifespan,
    telemetry={"auto_configure": True, "logs": False},
)
app.include_router(health.router)
app.include_router(teams.router)
app.include_router(users.router)
