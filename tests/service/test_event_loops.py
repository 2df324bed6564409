"""A service with psycopg does not take the platform's default event loop.

On Windows that is one which psycopg refuses. Here, a policy stands for it whose loop
cannot be made. One variant: neither the database nor the pool has a loop.
"""

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lab.copies import run_with
from lab.migrations import direct_name
from lab.prepared import chosen
from lab.servers import Database
from lab.services import ServiceEnvironment
from lab.variants import Variant

NO_DEFAULT_LOOP = """
import asyncio
import warnings

warnings.simplefilter("ignore", DeprecationWarning)

class NoDefault(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        raise RuntimeError("the platform's default event loop")

asyncio.set_event_loop_policy(NoDefault())
"""

pytestmark = [
    pytest.mark.everything,
    pytest.mark.parametrize(
        "variant", [chosen("postgres", "queuepool", "psycopg")], ids=str
    ),
]


def test_migrations_jobs_and_tests(
    environment: ServiceEnvironment,
    variant: Variant,
    path: Path,
    database: Database,
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_DEFAULT_LOOP)

    def run(*command: str, check: bool = True) -> CompletedProcess[str]:
        settings = {
            direct_name(variant): database.url,
            "DATABASE_URL": database.url,
            "TEST_DATABASE_URL": database.url,
            "PYTHONPATH": str(tmp_path),
        }
        return run_with(settings, environment, path, *command, check=check)

    run("alembic", "upgrade", "head")
    done = run("app.jobs.delete_empty_teams")
    assert "deleted 0 teams" in done.stderr
    tests = ("tests/test_pool.py", "tests/test_users.py")
    tested = run("pytest", "-p", "no:cacheprovider", *tests)
    assert " passed" in tested.stdout
    assert "skipped" not in tested.stdout
    # The policy does what it should.
    (path / "default.py").write_text("import asyncio\nasyncio.run(asyncio.sleep(0))\n")
    refused = run("default", check=False)
    assert "the platform's default event loop" in refused.stderr
