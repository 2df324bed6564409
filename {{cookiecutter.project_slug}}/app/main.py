"""The application: `uvicorn app.main:app`."""
{% from "text.j2" import python_string %}
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.core.database import engine
from app.errors import register_error_handlers
from app.routers import health, users


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the database connections when the service stops."""
    yield
    await engine.dispose()


app = FastAPI(
    title={{ python_string(cookiecutter.project_name) }},
    description={{ python_string(cookiecutter.description) }},
    lifespan=lifespan,
)
register_error_handlers(app)
app.include_router(health.router)
app.include_router(users.router)
