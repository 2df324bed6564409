"""Plain SQLModel with a synchronous engine, as SQLModel's own tutorial has it."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import DateTime
from sqlmodel import Field, Session, SQLModel, create_engine, select

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")

engine = create_engine(URL)


def get_session() -> Iterator[Session]:
    """A session for one request."""
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


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


app = FastAPI()


@app.get("/users/{user_id}", response_model=User)
def read_user(user_id: int, session: SessionDep) -> User:
    """Return one user."""
    user = session.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    return user


@app.get("/users", response_model=list[User])
def list_users(session: SessionDep, limit: int = 50, offset: int = 0) -> list[User]:
    """Return a page of users."""
    page = select(User).order_by(User.id).limit(limit).offset(offset)
    return session.exec(page).all()


@app.post("/users", response_model=User, status_code=201)
def create_user(new: UserCreate, session: SessionDep) -> User:
    """Create a user."""
    user = User.model_validate(new)
    session.add(user)
    session.commit()
    session.refresh(user)
    return user


@app.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process runs."""
    return {"status": "ok"}
