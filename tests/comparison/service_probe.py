"""Tell what rendered services are, once they are imported.

Run with the interpreter of their virtual environment, and with their folders. Prints
a line of JSON for each. A service is imported in a process of its own.
"""

import asyncio
import inspect
import io
import json
import os
import runpy
import ssl
import sys
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Imported once, before the processes part.
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from sqlalchemy import event
from sqlmodel import SQLModel

PREPARED = (FastAPI, SQLModel)
POOLED = "postgresql://app:secret@ep-a-1-pooler.aws.neon.tech/app"
DIRECT = POOLED.replace("-pooler", "")
NOWHERE = "/nowhere"


class StoppedError(Exception):
    """A connection was about to be opened."""


def keywords_of(engine: Any) -> dict[str, Any]:
    """Return what the driver is given for a connection, and open none."""

    def stop(_dialect: Any, _record: Any, _arguments: Any, keywords: Any) -> None:
        raise StoppedError(keywords)

    async def connect() -> None:
        async with engine.connect():
            pass

    event.listen(engine.sync_engine, "do_connect", stop)
    try:
        asyncio.run(connect())
    except StoppedError as stopped:
        found: dict[str, Any] = stopped.args[0]
        return found
    raise AssertionError


def fields_of(settings: type[BaseSettings]) -> dict[str, Any]:
    """Return each field by its variables: what it is without them, and what it is for."""
    found = {}
    for name, field in settings.model_fields.items():
        choices = getattr(field.validation_alias, "choices", [name.upper()])
        default = None if field.is_required() else str(field.default)
        found[" or ".join(choices)] = {
            "required": field.is_required(),
            "default": default,
            "description": field.description,
        }
    return found


def migration_settings() -> type[BaseSettings]:
    """Return the settings of `alembic/env.py`, which writes no migration here."""
    config = Config("alembic.ini")
    script = ScriptDirectory.from_config(config)
    with (
        redirect_stdout(io.StringIO()),
        EnvironmentContext(config, script, as_sql=True, fn=lambda *_: []),
    ):
        found: type[BaseSettings] = runpy.run_path("alembic/env.py")[
            "MigrationSettings"
        ]
    return found


def refuses_pooled(settings: type[BaseSettings], variables: dict[str, Any]) -> bool:
    """Tell whether the settings refuse Neon's pooled endpoint."""
    [name] = [each for each in variables if each.startswith("DATABASE_URL")]
    variable = name.split(" or ")[0]
    os.environ[variable] = POOLED
    try:
        settings()
    except ValidationError:
        return True
    return False


def tls_of(keywords: dict[str, Any]) -> dict[str, Any]:
    """Return the TLS arguments of a driver."""
    context: ssl.SSLContext | None = keywords.get("ssl")
    certifi = import_module("certifi").where() if find_spec("certifi") else None
    return {
        "binding": keywords.get("channel_binding"),
        "verified": context is not None and context.check_hostname,
        "authorities": len(context.get_ca_certs()) if context else None,
        "certifi": certifi is not None and keywords.get("sslrootcert") == certifi,
    }


def facts_of(asked: str) -> dict[str, Any]:
    """Import the service of the current folder, and return what it is.

    `asked` are the TLS parameters of its URL.
    """
    os.environ["DATABASE_URL"] = f"{POOLED}?{asked}"
    os.environ["DATABASE_URL_DIRECT"] = DIRECT
    engine = import_module("app.core.database").engine
    keywords = keywords_of(engine)
    migrations = migration_settings()
    variables = fields_of(migrations)
    size = getattr(engine.pool, "size", lambda: None)()
    return {
        "driver": engine.dialect.driver,
        "dialect": engine.url.drivername,
        "pool": type(engine.pool).__name__,
        "size": size,
        "most": size and size + engine.pool._max_overflow,
        "recycle": engine.pool._recycle,
        "keywords": {name: str(value) for name, value in keywords.items()},
        "defaults": defaults_of(engine.dialect.driver),
        "tls": tls_of(keywords),
        "api": fields_of(import_module("app.core.config").Settings),
        "migrations": variables,
        "refuses_pooled": refuses_pooled(migrations, variables),
    }


def defaults_of(driver: str) -> dict[str, str]:
    """Return what the text about a statement cache must say of a driver's default."""
    if driver == "asyncpg":
        parameters = inspect.signature(import_module(driver).connect).parameters
        size = parameters["statement_cache_size"].default
        return {"statement_cache_size": f"on: {size} statements"}
    if driver == "psycopg":
        manager = import_module("psycopg._preparing").PrepareManager
        return {"prepare_threshold": f"on: from the {manager.prepare_threshold + 1}th"}
    return {}


def in_own_process(folder: str, asked: str, **variables: str) -> dict[str, Any]:
    """Return the facts about a service from a process that ends with them."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.chdir(folder)
            sys.path.insert(0, folder)
            os.environ |= variables
            Path(f"/dev/fd/{writer}").write_text(json.dumps(facts_of(asked)))
            os._exit(0)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(text)
    return found


def main() -> None:
    """Print the facts about each folder."""
    sys.dont_write_bytecode = True
    nothing = {"SSL_CERT_FILE": NOWHERE, "SSL_CERT_DIR": NOWHERE}
    verified = in_own_process(sys.argv[1], "sslmode=verify-full", **nothing)
    for folder in sys.argv[1:]:
        facts = in_own_process(folder, "sslmode=require&channel_binding=require")
        print(json.dumps(facts | {"verify_full": verified["tls"]}))


if __name__ == "__main__":
    main()
