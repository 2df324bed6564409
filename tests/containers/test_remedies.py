"""What the README's troubleshooting table advises helps, and a service has it.

Both drivers, and the pool where the advice is about one.
"""

import os
from pathlib import Path

import psycopg
import pytest
import yaml

from lab.containers import docker
from lab.copies import replace_once
from lab.migrations import migrations_at_once
from lab.prepared import DRIVERS, chosen
from lab.projects import Bakery
from lab.servers import Database, free_port
from lab.symptoms import (
    CLIENTS,
    COLUMN_CHANGES,
    LOCK_WAITERS,
    SAME_STATEMENT_TWICE,
    Laboratory,
    log_of,
    statuses,
)
from lab.variants import VARIANTS
from lab.waiting import wait_until
from tests.containers.wrong_ways import UPGRADE, crowd, stale_connection, tls_url

# The right ways, row by row.


@pytest.mark.parametrize("driver", DRIVERS)
def test_crowd_through_pgbouncer(lab: Laboratory, driver: str) -> None:
    """Too many connections: with NullPool and a pooler, nobody is sent away."""
    database = lab.fresh_database()
    bouncer = lab.bouncers["roomy"]

    def everybody_waits() -> bool:
        pools = [
            row for row in bouncer.show("POOLS") if row["database"] == database.name
        ]
        waiting = [row[name] for row in pools for name in ("cl_active", "cl_waiting")]
        return sum(number for number in waiting if isinstance(number, int)) >= CLIENTS

    with lab.service(
        chosen("pgbouncer", "nullpool", driver),
        bouncer.url(database),
        DB_MAX_CONNECTIONS=str(CLIENTS),
    ) as service:
        assert crowd(service, database, everybody_waits) == (CLIENTS, 0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_crowd_with_a_pool(lab: Laboratory, driver: str) -> None:
    """Too many connections: a pool of 15 stays below the server's limit."""
    database = lab.fresh_database()

    def pool_is_full() -> bool:
        return len(database.execute(LOCK_WAITERS)) == 15

    with lab.service(chosen("postgres", "queuepool", driver), database.url) as service:
        assert crowd(service, database, pool_is_full) == (CLIENTS, 0)
        assert "unavailable" not in log_of(service)


@pytest.mark.parametrize("driver", DRIVERS)
def test_stale_connections_are_replaced(lab: Laboratory, driver: str) -> None:
    """Connection reset: as rendered, an idle connection that ended is not noticed."""
    variant = chosen("postgres", "queuepool", driver)
    assert "unavailable" not in stale_connection(lab, variant)


@pytest.mark.parametrize("query", ["", "?sslmode=require"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_tls_is_used(lab: Laboratory, driver: str, query: str) -> None:
    """SSL required: as rendered, with sslmode=require and also without."""
    direct = tls_url(lab.tls_port, query)
    output = lab.alembic(chosen("postgres", "queuepool", driver), UPGRADE, direct)
    assert "Traceback" not in output
    pooled = tls_url(lab.tls_bouncer_port, query)
    with lab.service(chosen("pgbouncer", "nullpool", driver), pooled) as service:
        assert statuses(service.url) == {200: 1}


def test_patterns_remedy_fails_with_asyncpg(lab: Laboratory) -> None:
    """SSL required: `?sslmode=require`, given to SQLAlchemy as it is, is a TypeError."""
    url = tls_url(lab.tls_port, "?sslmode=require").replace("://", "+asyncpg://")
    script = (
        "import asyncio\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        f"asyncio.run(create_async_engine({url!r}).connect().start())\n"
    )
    said = lab.script(
        script, chosen("postgres", "queuepool", "asyncpg"), tls_url(lab.tls_port, "")
    )
    assert "unexpected keyword argument 'sslmode'" in said


# Every pair of driver, pool and pooler.
@pytest.mark.parametrize(
    ("driver", "pool", "bouncer"),
    [
        ("asyncpg", "nullpool", "forgets"),
        ("asyncpg", "queuepool", "follows"),
        ("psycopg", "nullpool", "follows"),
        ("psycopg", "queuepool", "forgets"),
    ],
)
def test_caches_are_off(lab: Laboratory, driver: str, pool: str, bouncer: str) -> None:
    """Prepared statement: as rendered, the same statements meet no prepared one."""
    url = lab.bouncers[bouncer].url(lab.fresh_database())
    variant = chosen("pgbouncer", pool, driver)
    for script in (SAME_STATEMENT_TWICE, SAME_STATEMENT_TWICE, COLUMN_CHANGES):
        assert lab.script(script, variant, url).endswith("done\n")


ADVISORY_LOCKS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def migrating_project(lab: Laboratory, driver: str, *, session_state: bool) -> Path:
    """Return a project of pgbouncer's; with `session_state`, an env.py as many write it.

    That one takes its lock for the session, and sets the lock timeout for it too.
    """
    project = lab.bake(chosen("pgbouncer", "nullpool", driver))
    if not session_state:
        return project.path
    copy = lab.copy(project)
    for old, new in (
        ("pg_try_advisory_xact_lock", "pg_try_advisory_lock"),
        ("SET LOCAL lock_timeout", "SET lock_timeout"),
    ):
        replace_once(copy / "alembic" / "env.py", old, new)
    return copy


def upgrade(lab: Laboratory, driver: str, project: Path, url: str) -> str:
    """Run `alembic upgrade head` with `url` as the direct one; return its output."""
    lab.counts["commands"] += 1
    command = ("alembic", *UPGRADE.split())
    done = lab.environments(driver).run(project, *command, DATABASE_URL_DIRECT=url)
    return done.stdout + done.stderr


def left_behind(lab: Laboratory, database: Database) -> tuple[set[str], int]:
    """Return the lock timeouts that the pooler's next clients have, and the locks held.

    Two clients have both server connections.
    """
    url = lab.bouncers["pair"].url(database)
    with (
        psycopg.connect(url, prepare_threshold=None) as one,
        psycopg.connect(url, prepare_threshold=None) as other,
    ):
        rows = [
            client.execute("SHOW lock_timeout").fetchone() for client in (one, other)
        ]
    return {row[0] for row in rows if row}, len(database.execute(ADVISORY_LOCKS))


@pytest.mark.parametrize("driver", DRIVERS)
def test_migration_through_pooler_leaves_its_session_behind(
    lab: Laboratory, driver: str, tmp_path: Path
) -> None:
    """Slow migrations: the next one waits for a lock that nobody will ever release."""
    database = lab.server.create_database()
    project = migrating_project(lab, driver, session_state=True)
    upgrade(lab, driver, project, lab.bouncers["pair"].url(database))
    assert left_behind(lab, database) == ({"0", "5s"}, 1)
    lab.counts["commands"] += 1
    with migrations_at_once(
        lab.environments(driver), project, database.url, tmp_path, 1
    ) as [following]:
        wait_until(following.waits, "the migration that waits")
        [(holder,)] = database.execute(ADVISORY_LOCKS)
        database.execute("SELECT pg_terminate_backend(%s)", holder)
        assert following.wait() == 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_migration_past_the_pooler_leaves_nothing_behind(
    lab: Laboratory, driver: str
) -> None:
    """Slow migrations: as rendered, on the direct URL, the next one finds no lock."""
    database = lab.server.create_database()
    project = migrating_project(lab, driver, session_state=False)
    for _ in range(2):
        upgrade(lab, driver, project, database.url)
        assert left_behind(lab, database) == ({"0"}, 0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_pooler_refuses_settings_at_startup(lab: Laboratory, driver: str) -> None:
    """Slow migrations: a timeout for the session works on the direct URL alone."""
    database = lab.server.create_database()
    variant = chosen("pgbouncer", "nullpool", driver)
    options = "?options=-c%20lock_timeout%3D3s"
    pooled = lab.bouncers["roomy"].url(database) + options
    said = lab.alembic(variant, UPGRADE, pooled)
    assert "unsupported startup parameter" in said
    direct = database.url + options
    assert "Traceback" not in lab.alembic(variant, UPGRADE, direct)
    assert database.execute("SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize("condition", ["service_healthy", "service_started"])
def test_compose_waits_for_a_slow_database(
    lab: Laboratory, bake: Bakery, condition: str
) -> None:
    """Connection refused: as rendered, migrations wait until the database is healthy."""
    [variant] = [
        variant
        for variant in VARIANTS
        if variant.id == "postgres-queuepool-asyncpg-migrate"
    ]
    project = bake.fresh(variant, python_version="3.14")
    file = project.path / "docker-compose.yml"
    text = project.read("docker-compose.yml")
    assert "condition: service_healthy" in text
    model = yaml.safe_load(text.replace("service_healthy", condition))
    slow = "sleep 6; exec docker-entrypoint.sh postgres"
    model["services"]["db"]["entrypoint"] = ["sh", "-c", slow]
    name = f"troubleshooting-{os.getpid()}-{condition.replace('_', '-')}"
    file.write_text(yaml.safe_dump(model))
    settings = f"POSTGRES_PASSWORD=s3cret\nDB_PORT={free_port()}\n"
    (project.path / ".env").write_text(settings)
    compose = (
        "compose",
        "--project-name",
        name,
        "--project-directory",
        str(project.path),
    )
    lab.counts["stacks"] += 1
    try:
        docker(*compose, "build", "--quiet", "migrate")
        done = docker(*compose, "run", "--rm", "migrate", check=False)
    finally:
        remove = ("--volumes", "--rmi", "local", "--timeout", "0")
        docker(*compose, "--profile", "migrate", "down", *remove, check=False)
    said = done.stdout + done.stderr
    if condition == "service_healthy":
        assert done.returncode == 0, said
        assert "Migrations complete." in said
    else:
        assert done.returncode != 0, said
        assert "Connect call failed" in said
