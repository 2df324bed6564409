"""Teams, to which users belong."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Identity
from sqlalchemy.orm import Mapped
from sqlmodel import Field, Relationship, SQLModel

from app.models.base import KeyType, Name, Timestamp, utc_now

if TYPE_CHECKING:
    from app.models.user import User


class Team(SQLModel, table=True):
    """A team as stored."""

    __tablename__ = "teams"

    id: int | None = Field(
        default=None, primary_key=True, sa_type=KeyType, sa_column_args=[Identity()]
    )
    name: str = Field(max_length=100, unique=True)
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)
    updated_at: datetime = Field(
        default_factory=utc_now,
        sa_type=Timestamp,
        sa_column_kwargs={"onupdate": utc_now},
    )

    # A query names what it loads: asyncio has no place for a query that nobody awaits.
    # https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html#preventing-implicit-io-when-using-asyncsession
    users: Mapped[list["User"]] = Relationship(
        sa_relationship_kwargs={
            "lazy": "raise",
            "order_by": "User.id",
            "passive_deletes": "all",
        }
    )


class TeamCreate(SQLModel):
    """What a client sends to create a team."""

    name: Name


class TeamRead(SQLModel):
    """A team as the API shows it."""

    id: int
    name: str
    created_at: datetime
    updated_at: datetime
