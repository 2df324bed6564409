"""The service as it is usually pasted together: the patterns that the template mends.

Every engine pings first, and every request is a transaction that is committed after
the response. `POOL` is `queuepool`, `nullpool`, or `neon`: NullPool without caches.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import DateTime
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool
from sqlmodel import Field, SQLModel, select

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
ENGINES = {
    "queuepool": {
        "pool_size": 5,
        "max_overflow": 10,
        "pool_timeout": 30,
        "pool_recycle": 1800,
    },
    "nullpool": {"poolclass": NullPool},
    "neon": {
        "poolclass": NullPool,
        "connect_args": {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
        },
    },
}

engine = create_async_engine(URL, pool_pre_ping=True, **ENGINES[os.environ["POOL"]])
async_session = sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session that commits at the end."""
    async with async_session() as session:
        try:
            yield session
            await session.commit()
        except Exception:
            await session.rollback()
            raise


class UserCreate(SQLModel):
    """What a client sends."""

    name: str
    email: str


class User(UserCreate, table=True):
    """A user as stored and shown."""

    __tablename__ = "users"

    id: int | None = Field(default=None, primary_key=True)
    team_id: int | None = None
    created_at: datetime = Field(
        default_factory=lambda: datetime.now(UTC), sa_type=DateTime(timezone=True)
    )
    updated_at: datetime = Field(
        default_factory=lambda: datetime.now(UTC), sa_type=DateTime(timezone=True)
    )


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close all connections at the end."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/users/{user_id}", response_model=User)
async def read_user(
    user_id: int,
    session: AsyncSession = Depends(get_session),  # noqa: B008 (as it is pasted)
) -> User:
    """Return one user."""
    result = await session.execute(select(User).where(User.id == user_id))
    user = result.scalar_one_or_none()
    if user is None:
        raise HTTPException(404)
    return user


@app.get("/users", response_model=list[User])
async def list_users(
    limit: int = 50,
    offset: int = 0,
    session: AsyncSession = Depends(get_session),  # noqa: B008
) -> list[User]:
    """Return a page of users."""
    page = select(User).order_by(User.id).limit(limit).offset(offset)
    return (await session.execute(page)).scalars().all()


@app.post("/users", response_model=User, status_code=201)
async def create_user(
    new: UserCreate,
    session: AsyncSession = Depends(get_session),  # noqa: B008
) -> User:
    """Create a user."""
    user = User.model_validate(new)
    session.add(user)
    await session.flush()
    return user


@app.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process runs."""
    return {"status": "ok"}
