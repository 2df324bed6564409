"""Report on a service's engine: `python -m engine_probe '[ENVIRONMENT, ...]'`.

It runs in a service's folder, in the service's virtual environment. It imports the
service's engine anew for each environment, and writes a JSON list of reports. With
PROBE_CONNECT set, an engine connects; with PROBE_TERMINATE, it loses a connection.
"""

import asyncio
import json
import logging
import os
import ssl
import sys
from functools import partial
from importlib import import_module
from typing import Any

from sqlalchemy import event, text

PAUSE_SECONDS = 0.1
SETTINGS = ("DATABASE_URL", "DB_", "DEBUG")

IDENTITY = """
SELECT current_user, current_database(),
       current_setting('application_name'), current_setting('work_mem'),
       (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())
"""


class ConnectionAttemptError(Exception):
    """Raised instead of connecting; its argument is what the driver was given."""


def describe(value: object) -> Any:
    """Write a driver's argument in a way that JSON has."""
    if isinstance(value, ssl.SSLContext):
        return {
            "verifies": value.verify_mode is ssl.CERT_REQUIRED,
            "checks_host": value.check_hostname,
            "authorities": len(value.get_ca_certs()) > 0,
        }
    if isinstance(value, partial):
        return [describe(value.func), *value.args]
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', value)}"
    return str(value)


async def connect_arguments(engine: Any) -> Any:
    """Return the keyword arguments that the engine gives to the driver."""

    def intercept(_dialect: Any, _entry: Any, _args: Any, keywords: Any) -> None:
        raise ConnectionAttemptError(dict(keywords))

    event.listen(engine.sync_engine, "do_connect", intercept)
    try:
        await engine.connect()
    except ConnectionAttemptError as attempt:
        return attempt.args[0]
    finally:
        event.remove(engine.sync_engine, "do_connect", intercept)


async def identity(engine: Any) -> list[Any]:
    """Connect, and return who the server says that it is talking to."""
    try:
        async with engine.connect() as connection:
            return list((await connection.execute(text(IDENTITY))).one())
    except Exception as error:
        return [type(error).__name__, str(error)]
    finally:
        await engine.dispose()


async def after_termination(engine: Any) -> str:
    """End a connection that waits in the pool, and say what the next user finds."""
    backend = text("SELECT pg_backend_pid()")
    try:
        async with engine.connect() as other:
            async with engine.connect() as connection:
                first = await connection.scalar(backend)
            end = text("SELECT pg_terminate_backend(:pid, 5000)")
            if not await other.scalar(end, {"pid": first}):
                return "not terminated"
            await asyncio.sleep(PAUSE_SECONDS)  # A driver hears of it in its loop.
            async with engine.connect() as connection:
                second = await connection.scalar(backend)
        return "same connection" if first == second else "new connection"
    except Exception as error:
        return type(error).__name__
    finally:
        await engine.dispose()


def describe_pool(pool: Any) -> dict[str, Any]:
    """Return the settings of a pool, which depend on its class."""
    found = {"class": type(pool).__name__}
    if hasattr(pool, "_max_overflow"):
        found |= {
            "size": pool.size(),
            "max_overflow": pool._max_overflow,
            "timeout": pool.timeout(),
        }
    if hasattr(pool, "queue"):
        found |= {"places": pool.queue.places, "patience": pool.queue.timeout}
    return found | {"recycle": pool._recycle}


class Messages(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        """Keep everything."""
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.texts.append(f"{record.levelname} {record.getMessage()}")


def report(environment: dict[str, str]) -> dict[str, Any]:
    """Import the engine in this environment, and describe it."""
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            del os.environ[name]
    for name in [*sys.modules]:
        if name.split(".")[0] == "app":
            del sys.modules[name]
    os.environ |= environment
    messages = Messages()
    logging.getLogger().addHandler(messages)
    try:
        database = import_module("app.core.database")
        session = import_module("app.core.session")
    except SystemExit as stop:
        return {"stopped": str(stop.code), "log": messages.texts}
    except Exception as error:
        return {"crashed": type(error).__name__}
    finally:
        logging.getLogger().removeHandler(messages)
    engine = database.engine
    found = {
        "url": engine.url.render_as_string(hide_password=False),
        "echo": logging.getLogger("sqlalchemy.engine.Engine").isEnabledFor(
            logging.INFO
        ),
        "pool": describe_pool(engine.pool),
        "session": session.async_session.class_.__module__,
        "expire_on_commit": session.async_session.kw["expire_on_commit"],
        "connect": asyncio.run(connect_arguments(engine)),
        "log": messages.texts,
        "reads_share_the_pool": database.read_engine.pool is engine.pool,
        "reads": database.read_engine.get_execution_options().get("isolation_level"),
    }
    if "PROBE_CONNECT" in os.environ:
        found["identity"] = asyncio.run(identity(engine))
    if "PROBE_TERMINATE" in os.environ:
        found["after_termination"] = asyncio.run(after_termination(engine))
    return found


if __name__ == "__main__":
    reports = [report(environment) for environment in json.loads(sys.argv[1])]
    json.dump(reports, sys.stdout, default=describe)
