"""What all tables share: the names of constraints, and the types of columns."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, StringConstraints
from sqlalchemy import BigInteger, DateTime, Integer
from sqlmodel import SQLModel

# Migrations name constraints to alter them, so every constraint needs a fixed name:
# https://alembic.sqlalchemy.org/en/latest/naming.html
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite counts only keys of this type: https://sqlite.org/autoinc.html
KeyType = BigInteger().with_variant(Integer, "sqlite")
Timestamp = DateTime(timezone=True)

# The largest integer that all readers of JSON understand, and that OpenAPI can name:
# https://www.rfc-editor.org/rfc/rfc8259#section-6
MAX_KEY = 2**53 - 1
Key = Annotated[int, Field(ge=1, le=MAX_KEY)]

# PostgreSQL stores no NUL characters.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]*$")
]


def utc_now() -> datetime:
    """The current time, with its time zone."""
    return datetime.now(UTC)
