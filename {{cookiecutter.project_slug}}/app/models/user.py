"""Users."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import Identity, Index, func
from sqlmodel import Field, SQLModel

from app.models.base import Key, KeyType, Name, Timestamp, utc_now

# Not \s, of which each reader of the OpenAPI document has an idea of its own.
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[^@\x00-\x20]+@[^@\x00-\x20]+$"),
]


class User(SQLModel, table=True):
    """A user as stored."""

    __tablename__ = "users"

    id: int | None = Field(
        default=None, primary_key=True, sa_type=KeyType, sa_column_args=[Identity()]
    )
    name: str = Field(max_length=100)
    email: str = Field(max_length=254)
    team_id: int | None = Field(
        default=None, foreign_key="teams.id", index=True, sa_type=KeyType
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)
    updated_at: datetime = Field(
        default_factory=utc_now,
        sa_type=Timestamp,
        sa_column_kwargs={"onupdate": utc_now},
    )


EMAIL_INDEX = "uq_users_email_lower"
Index(EMAIL_INDEX, func.lower(User.email), unique=True)


class UserCreate(SQLModel):
    """What a client sends to create a user."""

    name: Name
    email: Email
    team_id: Key | None = None


class UserUpdate(SQLModel):
    """What a client sends to change a user: the fields to change."""

    name: Name = Field(default=None)
    email: Email = Field(default=None)
    team_id: Key | None = None


class UserRead(SQLModel):
    """A user as the API shows it."""

    id: int
    name: str
    email: str
    team_id: int | None
    created_at: datetime
    updated_at: datetime
