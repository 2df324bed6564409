"""What the suites under load share: variants, migrated databases, edited projects."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import yaml

from lab.projects import Project
from lab.servers import Database, Server
from lab.services import ServiceEnvironment, clean_environment
from lab.variants import CHOICES, VARIANTS, Variant

DATABASES = CHOICES["database"]
POOLS = [pool for pool in CHOICES["pool"] if pool != "auto"]
DRIVERS = CHOICES["driver"]

# What Alembic says while another process migrates.
WAITS = "another process is migrating"

_copies = count(1)


def chosen(database: str, pool: str, driver: str) -> Variant:
    """Return the variant with these answers and no migrate service."""
    [found] = [
        variant
        for variant in VARIANTS
        if (variant.database, variant.pool, variant.driver) == (database, pool, driver)
        and not variant.migrate_service
    ]
    return found


def migrate(project: Path, environment: ServiceEnvironment, database: Database) -> None:
    """Run `alembic upgrade head` of a project on a database, on the direct way."""
    environment.run(
        project,
        *("alembic", "upgrade", "head"),
        DATABASE_URL=database.url,
        DATABASE_URL_DIRECT=database.url,
    )


@dataclass(frozen=True)
class Migration:
    """An `alembic upgrade head` that runs, and the file that it writes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def waits(self) -> bool:
        """Whether it has said that another process migrates, and goes on."""
        return self.process.poll() is None and WAITS in self.log.read_text()


@contextmanager
def migrations_at_once(
    environment: ServiceEnvironment, project: Path, url: str, folder: Path, number: int
) -> Iterator[list[Migration]]:
    """Start `alembic upgrade head` several times; kill what runs at the block's end."""
    variables = {"DATABASE_URL": url, "DATABASE_URL_DIRECT": url}
    started: list[Migration] = []
    try:
        for turn in range(number):
            log = folder / f"migration-{turn}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [environment.python, "-m", "alembic", "upgrade", "head"],
                    cwd=project,
                    env=clean_environment(environment, variables),
                    stdout=output,
                    stderr=output,
                )
            started.append(Migration(process, log))
        yield started
    finally:
        for migration in started:
            migration.process.kill()
            migration.process.wait()


def copy_database(server: Server, template: Database) -> Database:
    """Create a database with the tables of another, faster than by migrations."""
    database = server.create_database()
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in (
            f"DROP DATABASE {database.name}",
            f"CREATE DATABASE {database.name} TEMPLATE {template.name}",
        ):
            connection.execute(statement.encode())
    return database


def api_seconds(project: Project, *keys: str) -> int:
    """Return a duration of the API in the Compose file, such as `stop_grace_period`."""
    value = yaml.safe_load(project.read("docker-compose.yml"))["services"]["api"]
    for key in keys:
        value = value[key]
    return int(value.removesuffix("s"))


def copy_project(project: Project, folder: Path) -> Path:
    """Copy a baked project, to change the copy."""
    copy = folder / f"project-{next(_copies)}"
    shutil.copytree(project.path, copy)
    return copy


def replace(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts in a file; each must be there exactly once."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, f"{path.name} has {text.count(old)} times {old!r}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


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


class ConnectionWatch:
    """Counts the connections of a service to its database, again and again."""

    def __init__(self, database: Database) -> None:
        """Prepare to watch a database; migrations do not count."""
        self.database = database
        self.most = 0
        self.samples = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Count until `stop`."""
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            while not self._stopping.wait(0.02):
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND backend_type = 'client backend'"
                    " AND application_name NOT LIKE '%-migrations'"
                ).fetchone()
                self.most = max(self.most, row[0] if row else 0)
                self.samples += 1

    def stop(self) -> None:
        """Stop counting."""
        self._stopping.set()


@contextmanager
def watched(database: Database) -> Iterator[ConnectionWatch]:
    """Count the connections to a database while the block runs."""
    watch = ConnectionWatch(database)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
