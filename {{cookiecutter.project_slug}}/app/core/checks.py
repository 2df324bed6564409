"""When a connection is no longer good, and what is done about it."""
{% if cookiecutter.__pool == 'queuepool' %}
import asyncio
from time import monotonic
{%- endif %}
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
{%- if cookiecutter.__pool == 'queuepool' %}
from sqlalchemy.exc import DisconnectionError, InvalidRequestError
{%- elif cookiecutter.__pool == 'nullpool' %}
from sqlalchemy.exc import InvalidRequestError
{%- endif %}
from sqlalchemy.ext.asyncio import AsyncEngine
{%- if cookiecutter.__pool == 'queuepool' %}
from sqlalchemy.pool import ConnectionPoolEntry
{%- endif %}

from app.core import driver
{%- if cookiecutter.__pool == 'queuepool' %}
from app.core.config import settings
{%- endif %}

# The server has gone, has become another one, or is in doubt about itself. What such a
# request is answered stands in app/errors.py.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
SPOILED = ("08", "25006", "25P03", "25P04", "57P", "58", "XX")


def watch(engine: AsyncEngine) -> None:
    """Make `engine` repeat stale statements and close spoiled connections."""
    event.listen(engine.sync_engine, "do_execute", repeat_stale_statement)
    event.listen(engine.sync_engine, "handle_error", close_spoiled_connection)
    event.listen(engine.sync_engine, "begin", forget_failure)
    event.listen(engine.sync_engine, "rollback_savepoint", forget_failure)
    event.listen(engine.sync_engine, "commit", refuse_failed_transaction)


def repeat_stale_statement(
    cursor: Any, statement: str, parameters: Any, context: Any
) -> bool:
    """Execute a statement, and once more if it did nothing since its plan was stale.

    Within a transaction it cannot be repeated: what came before is lost with it.
    """
    connection = context.root_connection.connection
    repeatable = not driver.is_in_transaction(connection.driver_connection)
    try:
        context.dialect.do_execute(cursor, statement, parameters, context)
    except context.dialect.loaded_dbapi.Error as error:
        if not (repeatable and driver.is_stale_plan(error)):
            raise
        connection.dbapi_connection.rollback()
        driver.forget_statements(context)
        context.dialect.do_execute(cursor, statement, parameters, context)
    return True


def close_spoiled_connection(context: ExceptionContext) -> None:
    """Close a connection that is no longer good, and only that one."""
    context.invalidate_pool_on_disconnect = False
    connection = context.connection
    was_sent = context.execution_context is not None or context.statement is None
    if connection is None or connection.invalidated or not was_sent:
        return
    error = context.original_exception
    sqlstate = getattr(error, "sqlstate", None) or ""
    raw: Any = connection.connection.driver_connection
    if (
        sqlstate.startswith(SPOILED)
        or driver.is_stale_plan(error)
        or driver.is_out_of_step(error, raw)
    ):
        connection.invalidate(error)
    elif driver.is_in_transaction(raw):
        connection.info["failure"] = error
{%- if cookiecutter.driver == 'asyncpg' %}
    driver.name_failure(context)
{%- endif %}


def forget_failure(connection: Connection, *_: object) -> None:
    """Begin anew: at BEGIN, and where a savepoint has been rolled back."""
    connection.info.pop("failure", None)


def refuse_failed_transaction(connection: Connection) -> None:
    """Raise InvalidRequestError where an error was caught that has ended a transaction.

    PostgreSQL answers COMMIT with ROLLBACK then, and no driver says so:
    https://www.postgresql.org/docs/current/sql-commit.html
    """
    if failure := connection.info.get("failure"):
        msg = (
            "an error has ended the transaction, so nothing of it can be committed:"
            " let the error out, or catch it around session.begin_nested()"
        )
        raise InvalidRequestError(msg) from failure
{%- if cookiecutter.__pool == 'queuepool' %}


def check_before_use(engine: AsyncEngine) -> None:
    """Make the pool of `engine` replace the connections that the server has closed.

    `pool_pre_ping` does so with a query before every request. This asks the server
    only where the driver has heard of an end, or where the connection has been idle
    for DB_PING_AFTER_IDLE seconds.
    """
    dialect = engine.dialect

    def note_return(_connection: object, entry: ConnectionPoolEntry) -> None:
        entry.info["returned"] = (monotonic(), asyncio.get_running_loop())

    def check(connection: Any, entry: Any, _proxy: object) -> None:
        if "returned" not in entry.info:
            return
        since, loop = entry.info["returned"]
        if loop is not asyncio.get_running_loop():
            if not loop.is_closed():
                msg = "another thread's event loop uses this engine: use one loop"
                raise RuntimeError(msg)
            # Nothing can close it without its loop but the garbage collector.
            entry.dbapi_connection = None
            raise DisconnectionError
        if monotonic() - since < settings.db_ping_after_idle and not (
            driver.may_be_closed(connection.driver_connection)
        ):
            return
        try:
            dialect.do_ping(connection)
        except (dialect.loaded_dbapi.Error, OSError) as error:
            raise DisconnectionError from error

    event.listen(engine.sync_engine, "checkin", note_return)
    event.listen(engine.sync_engine, "checkout", check)
{%- endif %}
