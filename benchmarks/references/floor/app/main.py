"""The floor: the smallest FastAPI application on a bare asyncpg pool."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

COLUMNS = "id, name, email, team_id, created_at, updated_at"


class UserCreate(BaseModel):
    """What a client sends."""

    name: str
    email: str


class UserRead(BaseModel):
    """What a client gets."""

    id: int
    name: str
    email: str
    team_id: int | None
    created_at: datetime
    updated_at: datetime


async def leave_as_it_is(_: object) -> None:
    """Reset nothing when a connection comes back to the pool."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open as many connections as the other services may have.

    asyncpg's pool resets a connection that comes back, which costs a round trip;
    with NO_RESET it does not.
    """
    reset = {"reset": leave_as_it_is} if "NO_RESET" in os.environ else {}
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=15, max_size=15, **reset
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/users/{user_id}", response_model=UserRead)
async def read_user(user_id: int) -> Any:
    """Return one user."""
    query = f"SELECT {COLUMNS} FROM users WHERE id = $1"
    row = await app.state.pool.fetchrow(query, user_id)
    if row is None:
        raise HTTPException(404)
    return dict(row)


@app.get("/users", response_model=list[UserRead])
async def list_users(limit: int = 50, offset: int = 0) -> Any:
    """Return a page of users."""
    query = f"SELECT {COLUMNS} FROM users ORDER BY id LIMIT $1 OFFSET $2"
    return [dict(row) for row in await app.state.pool.fetch(query, limit, offset)]


@app.post("/users", response_model=UserRead, status_code=201)
async def create_user(new: UserCreate) -> Any:
    """Create a user, in a transaction as the other services do."""
    query = (
        "INSERT INTO users (name, email, created_at, updated_at)"
        " VALUES ($1, $2, $3, $3)"
        f" RETURNING {COLUMNS}"
    )
    async with app.state.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(query, new.name, new.email, datetime.now(UTC))
    return dict(row)


@app.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process runs."""
    return {"status": "ok"}
