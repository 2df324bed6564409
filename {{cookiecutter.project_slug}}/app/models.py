"""The tables and the shapes of the API's data."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import DateTime, Index, func
from sqlmodel import Field, SQLModel

# Migrations name constraints to alter them, so every constraint needs a fixed name:
# https://alembic.sqlalchemy.org/en/latest/naming.html
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

MAX_ID = 2**31 - 1

# PostgreSQL stores no NUL characters.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]*$")
]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")
]


def utc_now() -> datetime:
    """The current time, with its time zone."""
    return datetime.now(UTC)


class User(SQLModel, table=True):
    """A user as stored."""

    __tablename__ = "users"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=100)
    email: str = Field(max_length=254)
    created_at: datetime = Field(
        default_factory=utc_now, sa_type=DateTime(timezone=True)
    )


EMAIL_INDEX = "uq_users_email_lower"
Index(EMAIL_INDEX, func.lower(User.email), unique=True)


class UserCreate(SQLModel):
    """What a client sends to create a user."""

    name: Name
    email: Email


class UserUpdate(SQLModel):
    """What a client sends to change a user: the fields to change."""

    name: Name = Field(default=None)
    email: Email = Field(default=None)


class UserRead(SQLModel):
    """A user as the API shows it."""

    id: int
    name: str
    email: str
    created_at: datetime
