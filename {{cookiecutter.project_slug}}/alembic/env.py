"""Run migrations online, or write them as SQL with `--sql`."""

import asyncio
from logging import getLogger
from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic_postgresql_enum import Config as EnumConfig
from alembic_postgresql_enum import set_configuration as compare_enums
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import app.models  # noqa: F401  (fills SQLModel.metadata)
from app.core.driver import LOOP_FACTORY, connect_arguments
from app.core.endpoint import MigrationURL
from app.core.environment import WholeSeconds
from app.logs import LogSettings, configure_logs

configure_logs()
logger = getLogger("alembic.env")

INSUFFICIENT_PRIVILEGE = "42501"


class MigrationSettings(LogSettings):
    """What migrations read from the environment. Times are in seconds."""

    database_url: MigrationURL
    db_connect_timeout: WholeSeconds = 15


async def wait_for_turn(connection: AsyncConnection) -> None:
    """Take the lock that lets one process migrate at a time; waits as long as it must.

    The lock ends with the transaction of `connection`, which runs no migration: one
    that commits (`autocommit_block`) keeps its turn.
    """
    # Asked for, not waited for: CREATE INDEX CONCURRENTLY waits for queries that wait.
    # https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
    lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended('alembic', 0))")
    while not await connection.scalar(lock):
        await connection.rollback()
        logger.info("another process is migrating: trying again in a second")
        await asyncio.sleep(1)
    # The transaction is idle while the migrations run, for longer than some servers allow:
    # https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-IDLE-IN-TRANSACTION-SESSION-TIMEOUT
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def is_compared(
    _item: object, _name: str | None, type_: str, reflected: bool, model: object
) -> bool:
    """Whether autogenerate looks at an item of the database.

    It leaves a table alone that no model describes: other tools have tables too. So a
    model's end is written by hand, with `op.drop_table`. The same goes for enum types.
    """
    return not (type_ == "table" and reflected and model is None)


def is_named(name: str | None, type_: str, _parents: object) -> bool:
    """Whether autogenerate reads a schema: only those that the models name."""
    schemas = {table.schema for table in SQLModel.metadata.tables.values()}
    return type_ != "schema" or name in schemas


def import_type(type_: str, item: Any, autogen_context: AutogenContext) -> bool:
    """Make a migration import the module of a column's type; Alembic writes the rest."""
    module = type(item).__module__
    if type_ == "type" and not module.startswith("sqlalchemy."):
        autogen_context.imports.add(f"import {module}")
    return False


compare_enums(EnumConfig(drop_unused_enums=False))
OPTIONS: dict[str, Any] = {
    "target_metadata": SQLModel.metadata,
    # A value that one migration adds to an enum is there for the next after COMMIT:
    # https://www.postgresql.org/docs/current/sql-altertype.html#SQL-ALTERTYPE-NOTES
    "transaction_per_migration": True,
    "compare_server_default": True,
    "include_schemas": True,
    "include_name": is_named,
    "include_object": is_compared,
    "render_item": import_type,
}


def migrate(connection: Connection) -> None:
    """Run the migrations on `connection`, each in a transaction of its own."""
    event.listen(connection, "begin", limit_lock_waits)
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def limit_lock_waits(connection: Connection) -> None:
    """Make each transaction of `connection` give up on a table in use after 5 s."""
    # A migration that waits for a table makes every later query wait behind it:
    # https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
    connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")


async def run_online() -> None:
    """Connect to the database and migrate it.

    Raises SystemExit with one line if the role may not.
    """
    settings = MigrationSettings.load()
    engine = create_async_engine(
        settings.database_url.url,
        poolclass=NullPool,
        connect_args=connect_arguments(
            settings.database_url.parameters,
            application_name="{{ cookiecutter.project_slug }}-migrations",
            connect_timeout=settings.db_connect_timeout,
        ),
    )
    try:
        async with engine.connect() as turn, engine.connect() as connection:
            await wait_for_turn(turn)
            await connection.run_sync(migrate)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
            raise
        reason = str(error.orig).partition("\n")[0]
        msg = f"{reason}: give the role {settings.database_url.url.username} this right"
        raise SystemExit(msg) from None
    await engine.dispose()


def run_offline() -> None:
    """Write the migrations to standard output as SQL."""
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    context.execute("SET lock_timeout = '5s'")
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        runner.run(run_online())
