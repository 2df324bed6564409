"""What the suites under load share: variants, databases, counts of connections."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import yaml

from lab.projects import Project
from lab.servers import Database, Server
from lab.variants import CHOICES, VARIANTS, Variant

DATABASES = CHOICES["database"]
POOLS = [pool for pool in CHOICES["pool"] if pool != "auto"]
DRIVERS = CHOICES["driver"]
DRIVER = "app/core/driver.py"
# What leaves a driver's statement caches on: a file, a text in it, and another.
CACHES_ON = {
    "asyncpg": [
        (DRIVER, '        "statement_cache_size": 0,\n', ""),
        (DRIVER, '        "prepared_statement_cache_size": 0,\n', ""),
    ],
    "psycopg": [(DRIVER, '"prepare_threshold": None', '"prepare_threshold": 0')],
}


def chosen(
    database: str, pool: str, driver: str, *, migrate_service: bool = False
) -> Variant:
    """Return the variant with these answers."""
    answers = (database, pool, driver, migrate_service)
    [found] = [
        each
        for each in VARIANTS
        if (each.database, each.pool, each.driver, each.migrate_service) == answers
    ]
    return found


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
