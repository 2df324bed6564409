"""What is expected of each driver, written down apart from the template's own table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expected:
    """What follows from the answer."""

    # Opens a connection to the URL in its argument. It ends without closing it, since
    # over TLS the closing message cannot be told from others.
    opens_a_connection: str
    unprepared: int  # Round trips of a statement that is not prepared.
    ping: int  # Round trips of a ping of SQLAlchemy's.
    # What compare.py says of each statement cache that is on.
    caches: Mapping[str, str]
    caches_off: Mapping[str, object]  # What the driver is given behind a pooler.
    database_name: str  # How the driver calls the database's name.
    binds_channels: bool
    # From an application's name and two time limits: what else the driver is given.
    arguments: Callable[[str, float, float], dict[str, Any]]


def of_asyncpg(name: str, connect: float, command: float) -> dict[str, Any]:
    """Return what asyncpg is given."""
    return {
        "timeout": connect,
        "command_timeout": command,
        "dsn": f"postgresql://?application_name={name}",
        "async_creator_fn": ["app.core.driver.connect", 1, [{}]],
    }


def of_psycopg(name: str, connect: float, command: float) -> dict[str, Any]:
    """Return what psycopg is given."""
    return {
        "connect_timeout": connect,
        "application_name": name,
        "async_creator_fn": ["app.core.driver.connect", command],
    }


WITH_DRIVER = {
    "asyncpg": Expected(
        opens_a_connection="""
import asyncio, os, sys, asyncpg
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    os._exit(0)
asyncio.run(main())
""",
        unprepared=2,
        ping=3,  # BEGIN, an empty query and ROLLBACK.
        caches={
            "statement_cache_size": "on: 100 statements, asyncpg's default",
            "prepared_statement_cache_size": "on: 100 statements, SQLAlchemy's default",
        },
        caches_off={"statement_cache_size": 0, "prepared_statement_cache_size": 0},
        database_name="database",
        binds_channels=False,
        arguments=of_asyncpg,
    ),
    "psycopg": Expected(
        opens_a_connection="""
import asyncio, os, sys, psycopg
async def main():
    connection = await psycopg.AsyncConnection.connect(sys.argv[1])
    os._exit(0)
asyncio.run(main())
""",
        unprepared=1,
        ping=1,  # A query alone.
        caches={
            "prepare_threshold": "on: from the 6th execution, psycopg's default",
        },
        caches_off={"prepare_threshold": None},
        database_name="dbname",
        binds_channels=True,
        arguments=of_psycopg,
    ),
}
