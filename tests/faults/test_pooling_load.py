"""Transaction pooling under load: 200 clients, five server connections, one PgBouncer.

Every service runs in two processes, because the names of asyncpg's statements collide
only between processes. It runs where PgBouncer follows prepared statements and where it
does not. In the middle of the traffic a migration changes a column's type.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.clients import Answer, Load, Record, load, refuse_at_commit
from lab.copies import replace_once, working_copy
from lab.migrations import add_revision, migrate
from lab.pgbouncers import PgBouncer, pgbouncer
from lab.prepared import CACHES_ON, chosen, copy_database, watched
from lab.projects import Bakery
from lab.servers import Database, OwnServer, own_server
from lab.services import ServiceEnvironment, running_service

CLIENTS = 200
SERVER_CONNECTIONS = 5
REQUESTS_BEFORE = 4  # Of every client, at least, before the column's type changes.
REQUESTS_AFTER = 5  # The same, of requests sent after it has changed.
FEWEST_CLIENTS = 50  # What every server connection must have served.
ENOUGH_FAILURES = 10  # Of a service whose statement caches are left on.
TRACKING = [0, 1000]  # max_prepared_statements

CHANGE_TYPE = 'op.alter_column("users", "id", type_=sa.Integer())'

# What a cached statement leads to, where a server connection never prepared it.
NOT_PREPARED_HERE = ("already exists", "does not exist")
TYPE_CHANGED = ("cached plan must not change result type", "cached statement plan")


@dataclass
class Setting:
    """The servers of this suite."""

    server: OwnServer
    template: Database
    bouncers: dict[int, PgBouncer]

    def fresh_database(self) -> Database:
        """Create a migrated database that notes who was served by which connection."""
        database = copy_database(self.server, self.template)
        refuse_at_commit(database)
        database.execute(
            """
            CREATE TABLE served (pid int, email text);
            CREATE FUNCTION note_served() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO served VALUES (pg_backend_pid(), NEW.email);
                RETURN NEW;
            END $$;
            CREATE TRIGGER note_served AFTER INSERT ON users
                FOR EACH ROW EXECUTE FUNCTION note_served();
            """
        )
        return database


@pytest.fixture(scope="module")
def setting(
    docker_engine: None,  # noqa: ARG001
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
) -> Iterator[Setting]:
    """Run the server and, for every way of tracking statements, a PgBouncer."""
    with ExitStack() as stack:
        server = stack.enter_context(own_server())
        bouncers = {
            tracking: stack.enter_context(
                pgbouncer(
                    server.url,
                    max_prepared_statements=tracking,
                    default_pool_size=SERVER_CONNECTIONS,
                )
            )
            for tracking in TRACKING
        }
        template = server.create_database()
        project = bake(chosen("pgbouncer", "nullpool", "asyncpg"))
        migrate(project.path, environments("asyncpg"), template)
        yield Setting(server, template, bouncers)


# Every pair of driver, pool and tracking; and each driver and pool with caches left on.
LOADS = [
    ("asyncpg", "nullpool", 0),
    ("asyncpg", "queuepool", 1000),
    ("psycopg", "nullpool", 1000),
    ("psycopg", "queuepool", 0),
]
CACHED = [("asyncpg", "queuepool"), ("psycopg", "nullpool")]


@pytest.fixture
def migrating_project(bake: Bakery, pool: str, driver: str, tmp_path: Path) -> Path:
    """Return a copy of the project with a migration that changes a column's type."""
    copy = working_copy(bake(chosen("pgbouncer", pool, driver)), tmp_path)
    add_revision(copy, CHANGE_TYPE)
    return copy


@contextmanager
def replicas_under_load(
    environment: ServiceEnvironment, project: Path, log: Path, url: str
) -> Iterator[Load]:
    """Let clients work on a service in two processes, on the same database."""
    with (
        running_service(environment, project, log, DATABASE_URL=url) as first,
        running_service(environment, project, log, DATABASE_URL=url) as second,
        load(first.url, second.url, clients=CLIENTS) as clients,
    ):
        yield clients


@pytest.mark.parametrize(("driver", "pool", "tracking"), LOADS)
def test_load(  # noqa: PLR0913, PLR0917
    setting: Setting,
    environments: Callable[[str], ServiceEnvironment],
    migrating_project: Path,
    driver: str,
    tracking: int,
    tmp_path: Path,
    report: list[str],
    request: pytest.FixtureRequest,
) -> None:
    environment = environments(driver)
    database = setting.fresh_database()
    bouncer = setting.bouncers[tracking]
    with (
        watched(database) as watch,
        replicas_under_load(
            environment, migrating_project, tmp_path / "log", bouncer.url(database)
        ) as clients,
    ):
        clients.wait_for_rounds(REQUESTS_BEFORE)
        migrate(migrating_project, environment, database)
        migrated = time.monotonic()
        clients.wait_for_rounds(REQUESTS_AFTER, since=migrated)
    record = clients.record
    report.append(
        f"{request.node.callspec.id:23} {record.summary(database)},"
        f" {watch.most} server connections, {bouncer.assignments(database)} assignments,"
        f" slowest {record.slowest():.1f} s"
    )
    assert not record.unexpected()
    assert not record.contradictions
    assert not record.compare(database)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert 1 < watch.most <= SERVER_CONNECTIONS
    assert bouncer.assignments(database) >= len(record.answers)
    served = database.execute(
        "SELECT pid, count(DISTINCT split_part(email, '.', 2)) FROM served GROUP BY pid"
    )
    assert len(served) <= SERVER_CONNECTIONS
    assert min(number for _, number in served) >= FEWEST_CLIENTS, served


@pytest.fixture
def cached_project(migrating_project: Path, driver: str) -> Path:
    """Return the same copy with the statement caches left on, and nothing repeated."""
    for file, old, new in CACHES_ON[driver]:
        replace_once(migrating_project / file, old, new)
    checks = migrating_project / "app" / "core" / "checks.py"
    replace_once(checks, "if not (repeatable and", "if not (False and")
    return migrating_project


@pytest.mark.parametrize(("driver", "pool"), CACHED)
def test_cached_statements_fail_where_nobody_tracks_them(
    setting: Setting,
    environments: Callable[[str], ServiceEnvironment],
    cached_project: Path,
    driver: str,
    tmp_path: Path,
) -> None:
    database = setting.fresh_database()
    log = tmp_path / "log"
    with replicas_under_load(
        environments(driver), cached_project, log, setting.bouncers[0].url(database)
    ) as clients:
        clients.wait_until(lambda: len(failures(clients.record)) >= ENOUGH_FAILURES)
    said = log.read_text()
    assert any(text in said for text in NOT_PREPARED_HERE)


@pytest.mark.parametrize(("driver", "pool"), CACHED)
def test_cached_statements_fail_after_a_type_change(
    setting: Setting,
    environments: Callable[[str], ServiceEnvironment],
    cached_project: Path,
    driver: str,
    tmp_path: Path,
) -> None:
    environment = environments(driver)
    database = setting.fresh_database()
    log = tmp_path / "log"
    with replicas_under_load(
        environment, cached_project, log, setting.bouncers[1000].url(database)
    ) as clients:
        clients.wait_for_rounds(1)
        assert not failures(clients.record), "tracking is enough while no type changes"
        # A connection that met an error is closed, so the errors begin with the change
        # and may be over before the migration's process has ended.
        migrate(cached_project, environment, database)
        clients.wait_until(lambda: bool(failures(clients.record)))
    said = log.read_text()
    assert any(text in said for text in TYPE_CHANGED)


def failures(record: Record) -> list[Answer]:
    """Return the answers that say that a statement failed: a 500, or a 503."""
    return [answer for answer in record.unexpected() if answer.status in (500, 503)]
