"""The environment of the tests, set before anything imports the app."""

import os

import pytest

TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL")
if TEST_DATABASE_URL and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    # Each process of pytest-xdist empties a database of its own.
    address, mark, query = TEST_DATABASE_URL.partition("?")
    TEST_DATABASE_URL = f"{address}_{worker}{mark}{query}"

# Nothing listens there, so that a test cannot reach a database by accident.
CLOSED_PORT_URL = "postgresql://nobody:secret@127.0.0.1:1/nothing"

needs_postgres = pytest.mark.skipif(
    not TEST_DATABASE_URL, reason="needs PostgreSQL: set TEST_DATABASE_URL"
)

for name in list(os.environ):
    if name.startswith(("DATABASE_URL", "DB_")) or name == "DEBUG":
        del os.environ[name]
os.environ["DATABASE_URL"] = CLOSED_PORT_URL
