"""The environment of the tests, set before anything imports the app."""

import os

import pytest

# Nothing listens there, so that a test cannot reach a database by accident.
CLOSED_PORT_URL = "postgresql://nobody:secret@127.0.0.1:1/nothing"

# A condition in a string is evaluated when the test is about to run.
needs_postgres = pytest.mark.skipif(
    "not os.environ.get('TEST_DATABASE_URL')", reason="needs PostgreSQL: --postgres"
)


def postgres_url() -> str:
    """The URL of the database for tests, or an empty text on SQLite."""
    return os.environ.get("TEST_DATABASE_URL", "")


for name in list(os.environ):
    if name.startswith(("DATABASE_URL", "DB_", "LOG_", "OTEL_")) or name == "DEBUG":
        del os.environ[name]
os.environ["DATABASE_URL"] = CLOSED_PORT_URL
