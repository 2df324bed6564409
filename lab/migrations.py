"""Alembic of a rendered service: run to its end, as processes, and with new revisions."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from lab.servers import Database
from lab.services import Process, ServiceEnvironment
from lab.variants import Variant

MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('alembic', 0))"
WAITS = "another process is migrating"
UPGRADE = ("upgrade", "head")
END_SECONDS = 90  # Generous: a busy machine is no fault.


def direct_name(variant: Variant) -> str:
    """Return the variable that migrations read."""
    return "DATABASE_URL_DIRECT" if variant.pooled_endpoint else "DATABASE_URL"


def migrate(project: Path, environment: ServiceEnvironment, database: Database) -> None:
    """Run `alembic upgrade head` of a project on a database, on the direct way."""
    environment.run(
        project,
        *("alembic", *UPGRADE),
        DATABASE_URL=database.url,
        DATABASE_URL_DIRECT=database.url,
    )


@dataclass(frozen=True)
class Migration:
    """Alembic as a process, and the file that it writes to."""

    process: Process
    log: Path

    def output(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text()

    def waits(self) -> bool:
        """Whether it says that another process migrates; it must not have ended."""
        assert self.process.poll() is None, self.output()
        return WAITS in self.output()

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(END_SECONDS)


@contextmanager
def running_alembic(
    environment: ServiceEnvironment, project: Path, url: str, log: Path, *command: str
) -> Iterator[Migration]:
    """Start an Alembic command on a database; kill it at the block's end."""
    variables = {"DATABASE_URL": url, "DATABASE_URL_DIRECT": url}
    with log.open("wb") as output:
        process = environment.start(
            project, "alembic", *command, output=output, errors=output, **variables
        )
    try:
        yield Migration(process, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def another_migrates(database: Database) -> Iterator[psycopg.Connection]:
    """Hold the lock of a migration; the block may end that with a rollback."""
    with psycopg.connect(database.url) as other:
        other.execute(MIGRATION_LOCK)
        yield other


@contextmanager
def migrations_at_once(
    environment: ServiceEnvironment, project: Path, url: str, folder: Path, number: int
) -> Iterator[list[Migration]]:
    """Start `alembic upgrade head` several times; kill what runs at the block's end."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_alembic(
                    environment,
                    project,
                    url,
                    folder / f"migration-{turn}.log",
                    *UPGRADE,
                )
            )
            for turn in range(number)
        ]


def add_revision(project: Path, upgrade: str) -> None:
    """Add a migration after the first one; `upgrade` is the body of its function."""
    lines = [
        "import os, signal, time",
        "import sqlalchemy as sa",
        "from alembic import op",
        'revision = "0002"',
        'down_revision = "0001"',
        "def upgrade() -> None:",
        *(f"    {line}" for line in upgrade.splitlines()),
    ]
    path = project / "alembic" / "versions" / "0002_second.py"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
