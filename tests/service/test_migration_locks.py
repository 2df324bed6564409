"""Migrations that wait for each other, and for no table for long, on real PostgreSQL.

The driver decides how a wait and its end are told, so each has its turn. The lock is the
same for every database; how several migrations get there at once, on both ways to the
server, is in `tests/faults`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import psycopg
import pytest

from lab.copies import replace_once
from lab.migrations import (
    UPGRADE,
    WAITS,
    Migration,
    another_migrates,
    migrations_at_once,
    running_alembic,
)
from lab.pairs import one_of_each
from lab.servers import Database, Server
from lab.services import ServiceEnvironment
from lab.variants import VARIANTS
from lab.waiting import wait_until

pytestmark = pytest.mark.everything

# A migration that commits half-way, as CREATE INDEX CONCURRENTLY needs it.
INDEX_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    op.add_column("users", sa.Column("note", sa.String()))
    with op.get_context().autocommit_block():
        op.create_index("ix_users_note", "users", ["note"], postgresql_concurrently=True)
    assert op.get_bind().scalar(sa.text("SHOW lock_timeout")) == "5s"
    op.add_column("users", sa.Column("after", sa.String()))
"""

SLOW_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    op.execute("SELECT pg_sleep(5)")
    lock = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended('alembic', 0))")
    assert not op.get_bind().scalar(lock), "the lock is gone"
"""
IDLE_LIMIT = 'await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))'


Start = Callable[..., Migration]

each_driver = pytest.mark.parametrize("variant", one_of_each("driver"), ids=str)
one_service = pytest.mark.parametrize("variant", VARIANTS[:1], ids=str)


@pytest.fixture
def start(
    environment: ServiceEnvironment, path: Path, tmp_path: Path
) -> Iterator[Start]:
    """Start Alembic on a database; whatever still runs at the end is killed."""
    numbers = count()
    with ExitStack() as stack:

        def run(database: Database, *command: str) -> Migration:
            log = tmp_path / f"alembic-{next(numbers)}.log"
            return stack.enter_context(
                running_alembic(environment, path, database.url, log, *command)
            )

        yield run


def somebody_waits_for_a_table(database: Database) -> bool:
    return database.execute(
        "SELECT count(*) > 0 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND NOT granted AND locktype = 'relation'"
    ) == [(True,)]


@each_driver
def test_lock_timeout_is_for_tables_alone(postgres: Server, start: Start) -> None:
    """A migration gives up on a table in use, but not on another migration."""
    busy, waiting = postgres.create_database(), postgres.create_database()
    for run in [start(database, *UPGRADE) for database in (busy, waiting)]:
        assert run.wait() == 0, run.output()

    with psycopg.connect(busy.url) as request, another_migrates(waiting) as other:
        request.execute("SELECT count(*) FROM users")
        second = start(waiting, "downgrade", "base")
        wait_until(second.waits, "a migration that waits for another")

        # The second waits longer than a whole lock timeout that starts after it.
        first = start(busy, "downgrade", "base")
        wait_until(lambda: somebody_waits_for_a_table(busy), "a wait for the table")
        assert first.wait() != 0
        assert "lock timeout" in first.output()
        assert second.process.poll() is None, second.output()
        other.rollback()
        assert second.wait() == 0, second.output()
    assert busy.tables() == {"alembic_version", "teams", "users"}
    assert waiting.tables() == {"alembic_version"}


@each_driver
def test_migration_that_commits_keeps_its_turn(
    environment: ServiceEnvironment, path: Path, database: Database, tmp_path: Path
) -> None:
    (path / "alembic" / "versions" / "0002_note.py").write_text(INDEX_REVISION)
    with (
        another_migrates(database) as other,
        migrations_at_once(environment, path, database.url, tmp_path, 3) as runs,
    ):
        wait_until(lambda: all(run.waits() for run in runs), "migrations that wait")
        other.rollback()
        codes = [run.wait() for run in runs]
    outputs = "".join(run.output() for run in runs)
    assert codes == [0] * len(runs), outputs
    assert outputs.count("Running upgrade 0001 -> 0002") == 1
    query = (
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_users_note'::regclass"
    )
    assert database.execute(query) == [(True,)]


def forbid_idle_transactions(path: Path, database: Database) -> None:
    """Add a migration that takes longer than the server lets a transaction be idle."""
    (path / "alembic" / "versions" / "0002_slow.py").write_text(SLOW_REVISION)
    database.execute(
        f'ALTER DATABASE "{database.name}" SET idle_in_transaction_session_timeout = 3000'
    )


@each_driver
def test_idle_transactions_may_be_forbidden(
    path: Path, database: Database, start: Start
) -> None:
    """The lock's transaction outlives the server's limit on idle ones."""
    forbid_idle_transactions(path, database)
    run = start(database, *UPGRADE)
    assert run.wait() == 0, run.output()


# The tests find what they look for, in one service


@one_service
def test_limit_on_idle_transactions_is_found(
    path: Path, database: Database, start: Start
) -> None:
    """With that limit, the lock is gone before the migration is over, which fails."""
    forbid_idle_transactions(path, database)
    replace_once(path / "alembic" / "env.py", IDLE_LIMIT, "pass")
    run = start(database, *UPGRADE)
    assert run.wait() != 0


@one_service
def test_missing_lock_timeout_is_found(
    path: Path, database: Database, start: Start
) -> None:
    """Set once, the lock timeout ends where a migration commits."""
    replace_once(
        path / "alembic" / "env.py",
        'event.listen(connection, "begin", limit_lock_waits)\n',
        'event.listen(connection, "begin", limit_lock_waits, once=True)\n',
    )
    (path / "alembic" / "versions" / "0002_note.py").write_text(INDEX_REVISION)
    run = start(database, *UPGRADE)
    assert run.wait() != 0
    assert "AssertionError" in run.output()


@one_service
def test_missing_migration_lock_is_found(
    path: Path, database: Database, start: Start
) -> None:
    """Without the lock, a migration does not wait for another one."""
    replace_once(path / "alembic" / "env.py", "        await wait_for_turn(turn)\n", "")
    with another_migrates(database):
        run = start(database, *UPGRADE)
        assert run.wait() == 0, run.output()
    assert WAITS not in run.output()
    assert "users" in database.tables()
