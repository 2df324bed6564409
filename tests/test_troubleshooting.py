"""Each symptom of the troubleshooting table: the wrong way has it, the right has not.

The literal texts that a rendered README names are those that these tests have seen.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.conftest import Bakery, Project
from tests.containers import docker
from tests.prepared import DRIVERS, POOLS, copy_project, replace
from tests.servers import Database, free_port
from tests.services import RunningService, ServiceEnvironment
from tests.symptoms import (
    CACHES_ON,
    CLIENTS,
    COLUMN_CHANGES,
    LOCK_WAITERS,
    SAME_STATEMENT_TWICE,
    Laboratory,
    laboratory,
    log_of,
    plain_role,
    statuses,
    tables_locked,
    wait_for,
)
from tests.variants import VARIANTS, Variant

ALL = ["postgres", "neon", "pgbouncer"]
POOLED = ["neon", "pgbouncer"]
UPGRADE = ["alembic", "upgrade", "head"]
UNCHECKED = ("check_before_use(engine)\n", "")
BACKENDS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def lab(
    report: list[str],
    docker_engine: None,  # noqa: ARG001
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Laboratory]:
    """Run the servers, and report what was done."""
    folder = tmp_path_factory.mktemp("troubleshooting")
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    with laboratory(folder, bake, environments) as running:
        yield running
    report.append(
        f"{len(SYMPTOMS)} texts, {running.counts['services']} services,"
        f" {running.counts['commands']} commands"
    )


# The wrong ways. Each returns what the service or the command says.


def nothing_listens(lab: Laboratory, driver: str) -> str:
    url = f"postgresql://app:s3cret@127.0.0.1:{free_port()}/app"
    with lab.service(f"postgres-queuepool-{driver}", url) as service:
        assert statuses(service.url) == {503: 1}
        return log_of(service)


def nothing_listens_for_alembic(lab: Laboratory, driver: str) -> str:
    url = f"postgresql://app:s3cret@127.0.0.1:{free_port()}/app"
    return lab.run(f"postgres-queuepool-{driver}", UPGRADE, DATABASE_URL=url)


def crowd(
    service: RunningService, database: Database, condition: Callable[[], object]
) -> tuple[int, int]:
    """Let requests pile up until `condition`; return how many were answered how."""
    counted = []
    with tables_locked(database):
        thread = threading.Thread(
            target=lambda: counted.append(statuses(service.url, CLIENTS))
        )
        thread.start()
        wait_for(condition, "a crowd of requests")
    thread.join()
    assert set(counted[0]) <= {200, 503}
    return counted[0][200], counted[0][503]


def too_many_requests(
    lab: Laboratory, variant: str, database: Database, url: str, text: str, **more: str
) -> str:
    """Send more requests at once than there are connections."""
    with lab.service(variant, url, **more) as service:
        _, failed = crowd(service, database, lambda: text in log_of(service))
        assert failed
        return log_of(service)


def server_full(lab: Laboratory, driver: str) -> str:
    database = lab.fresh_database()
    text = "sorry, too many clients already"
    variant = f"postgres-nullpool-{driver}"
    return too_many_requests(lab, variant, database, database.url, text)


def server_full_for_a_plain_role(lab: Laboratory, driver: str) -> str:
    database = lab.fresh_database()
    url = plain_role(lab.server, database)
    text = "remaining connection slots are reserved"
    return too_many_requests(lab, f"neon-nullpool-{driver}", database, url, text)


def pgbouncer_full(lab: Laboratory, driver: str) -> str:
    database = lab.fresh_database()
    url = lab.bouncers["narrow"].url(database)
    text = "no more connections allowed"
    return too_many_requests(lab, f"pgbouncer-nullpool-{driver}", database, url, text)


def pool_full(lab: Laboratory, driver: str) -> str:
    database = lab.fresh_database()
    return too_many_requests(
        lab,
        f"postgres-queuepool-{driver}",
        database,
        database.url,
        "QueuePool limit",
        DB_POOL_TIMEOUT="1",
    )


def ended_mid_request(
    lab: Laboratory, variant: str, url: str, database: Database
) -> str:
    """End the connection of a request that waits for a lock."""
    counted = []
    with lab.service(variant, url) as service, tables_locked(database):
        thread = threading.Thread(target=lambda: counted.append(statuses(service.url)))
        thread.start()
        wait_for(lambda: database.execute(LOCK_WAITERS), "a request that waits")
        [(waiting,)] = database.execute(LOCK_WAITERS)
        database.execute("SELECT pg_terminate_backend(%s)", waiting)
        thread.join()
        assert counted == [{503: 1}]
        return log_of(service)


def ended_directly(lab: Laboratory, driver: str) -> str:
    database = lab.fresh_database()
    variant = f"postgres-queuepool-{driver}"
    return ended_mid_request(lab, variant, database.url, database)


def ended_behind_pgbouncer(lab: Laboratory, driver: str) -> str:
    database = lab.fresh_database()
    url = lab.bouncers["roomy"].url(database)
    return ended_mid_request(lab, f"pgbouncer-nullpool-{driver}", url, database)


def stale_connection(lab: Laboratory, driver: str, *changes: tuple[str, str]) -> str:
    """End every idle connection of a service; return what it logs at the next."""
    database = lab.fresh_database()
    variant = f"postgres-queuepool-{driver}"
    with lab.service(variant, database.url, *changes) as service:
        assert statuses(service.url) == {200: 1}
        lab.server.terminate_backends()
        wait_for(lambda: not database.execute(BACKENDS), "the end of the connections")
        expected = {503: 1} if changes else {200: 1}
        assert statuses(service.url) == expected
        return log_of(service)


def stale_without_check(lab: Laboratory, driver: str) -> str:
    return stale_connection(lab, driver, UNCHECKED)


def tls_url(port: int, query: str) -> str:
    return f"postgresql://app:s3cret@127.0.0.1:{port}/app{query}"


def plain_to_tls_server(lab: Laboratory, driver: str) -> str:
    url = tls_url(lab.tls_port, "?sslmode=disable")
    return lab.run(f"postgres-queuepool-{driver}", UPGRADE, DATABASE_URL=url)


def plain_to_tls_pgbouncer(lab: Laboratory, driver: str) -> str:
    url = tls_url(lab.tls_bouncer_port, "?sslmode=disable")
    with lab.service(f"pgbouncer-nullpool-{driver}", url) as service:
        assert statuses(service.url) == {503: 1}
        return log_of(service)


def two_processes(
    lab: Laboratory, variant: str, url: str, *changes: tuple[str, str]
) -> str:
    """Run the same statements in two processes, which share a server connection.

    asyncpg counts its statements for each process, psycopg for each connection.
    """
    return "".join(
        lab.script(SAME_STATEMENT_TWICE, variant, url, *changes) for _ in range(2)
    )


def prepared_through_pgbouncer(lab: Laboratory, driver: str) -> str:
    """Use the engine of a service for a direct connection with a pooler's URL."""
    url = lab.bouncers["forgets"].url(lab.fresh_database())
    return two_processes(lab, f"postgres-queuepool-{driver}", url)


def caches_on(lab: Laboratory, driver: str) -> str:
    url = lab.bouncers["forgets"].url(lab.fresh_database())
    variant = f"pgbouncer-nullpool-{driver}"
    return two_processes(lab, variant, url, *CACHES_ON[driver])


def column_changes_with_caches_on(lab: Laboratory, driver: str) -> str:
    url = lab.bouncers["follows"].url(lab.fresh_database())
    variant = f"pgbouncer-nullpool-{driver}"
    return lab.script(COLUMN_CHANGES, variant, url, *CACHES_ON[driver])


def table_in_use(lab: Laboratory, driver: str) -> str:
    """Migrate while a transaction uses the version table."""
    database = lab.fresh_database()
    with psycopg.connect(database.url) as connection:
        connection.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        variant = f"postgres-queuepool-{driver}"
        downgrade = ["alembic", "downgrade", "base"]
        return lab.run(variant, downgrade, DATABASE_URL=database.url)


def pooled_url_for_alembic(lab: Laboratory, driver: str) -> str:
    host = "ep-a-1-pooler.eu-central-1.aws.neon.tech"
    url = f"postgresql://app:s3cret@{host}/app?sslmode=require"
    return lab.run(f"neon-nullpool-{driver}", UPGRADE, DATABASE_URL_DIRECT=url)


@dataclass(frozen=True)
class Symptom:
    """A text, and the wrong way that leads to it."""

    text: str
    wrong_way: Callable[[Laboratory, str], str]
    databases: list[str]
    drivers: tuple[str, ...] = ("asyncpg", "psycopg")


ASYNCPG = ("asyncpg",)
PSYCOPG = ("psycopg",)
SYMPTOMS = [
    Symptom("Connection refused", nothing_listens, ALL),
    Symptom("Connection refused", nothing_listens_for_alembic, ALL, PSYCOPG),
    Symptom("Connect call failed", nothing_listens_for_alembic, ALL, ASYNCPG),
    Symptom("sorry, too many clients already", server_full, ["postgres"]),
    Symptom(
        "remaining connection slots are reserved",
        server_full_for_a_plain_role,
        ["postgres", "neon"],
    ),
    Symptom("no more connections allowed (max_client_conn)", pgbouncer_full, POOLED),
    Symptom("QueuePool limit of size 5 overflow 10 reached", pool_full, ALL),
    Symptom("terminating connection due to administrator command", ended_directly, ALL),
    Symptom(
        "terminating connection due to administrator command",
        ended_behind_pgbouncer,
        POOLED,
    ),
    Symptom(
        "connection was closed in the middle of operation", ended_directly, ALL, ASYNCPG
    ),
    Symptom(
        "connection was closed in the middle of operation",
        ended_behind_pgbouncer,
        POOLED,
        ASYNCPG,
    ),
    Symptom("connection is closed", stale_without_check, ["postgres"], ASYNCPG),
    Symptom(
        "terminating connection due to administrator command",
        stale_without_check,
        ["postgres"],
        PSYCOPG,
    ),
    Symptom("no encryption", plain_to_tls_server, ALL),
    Symptom("SSL required", plain_to_tls_pgbouncer, POOLED),
    Symptom(
        'prepared statement "__asyncpg_stmt_1__" already exists',
        prepared_through_pgbouncer,
        ["postgres"],
        ASYNCPG,
    ),
    Symptom(
        'prepared statement "__asyncpg_stmt_1__" already exists',
        caches_on,
        ["pgbouncer"],
        ASYNCPG,
    ),
    Symptom(
        'prepared statement "_pg3_0" already exists',
        prepared_through_pgbouncer,
        ["postgres"],
        PSYCOPG,
    ),
    Symptom(
        'prepared statement "_pg3_0" already exists', caches_on, ["pgbouncer"], PSYCOPG
    ),
    Symptom(
        "cached plan must not change result type",
        column_changes_with_caches_on,
        POOLED,
        PSYCOPG,
    ),
    Symptom(
        "cached statement plan is invalid",
        column_changes_with_caches_on,
        POOLED,
        ASYNCPG,
    ),
    Symptom("canceling statement due to lock timeout", table_in_use, ALL),
    Symptom(
        "DATABASE_URL_DIRECT names Neon's pooled endpoint",
        pooled_url_for_alembic,
        ["neon"],
    ),
]


def symptom_cases() -> list[object]:
    """Return every symptom with each of its drivers."""
    return [
        pytest.param(
            symptom, driver, id=f"{symptom.wrong_way.__name__}-{driver}-{number}"
        )
        for number, symptom in enumerate(SYMPTOMS)
        for driver in symptom.drivers
    ]


@pytest.fixture(scope="module")
def said(lab: Laboratory) -> Callable[[Symptom, str], str]:
    """Go each wrong way once; return what was said there."""
    outputs: dict[tuple[str, str], str] = {}

    def go(symptom: Symptom, driver: str) -> str:
        key = (symptom.wrong_way.__name__, driver)
        if key not in outputs:
            outputs[key] = symptom.wrong_way(lab, driver)
        return outputs[key]

    return go


@pytest.mark.parametrize(("symptom", "driver"), symptom_cases())
def test_wrong_way(
    said: Callable[[Symptom, str], str], symptom: Symptom, driver: str
) -> None:
    assert symptom.text in said(symptom, driver)


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

    with lab.service(f"pgbouncer-nullpool-{driver}", bouncer.url(database)) as service:
        assert crowd(service, database, everybody_waits) == (CLIENTS, 0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_crowd_with_a_pool(lab: Laboratory, driver: str) -> None:
    """Too many connections: a pool of 15 stays below the server's limit."""
    database = lab.fresh_database()

    def pool_is_full() -> bool:
        return len(database.execute(LOCK_WAITERS)) == 15

    with lab.service(f"postgres-queuepool-{driver}", database.url) as service:
        assert crowd(service, database, pool_is_full) == (CLIENTS, 0)
        assert "unavailable" not in log_of(service)


@pytest.mark.parametrize("driver", DRIVERS)
def test_stale_connections_are_replaced(lab: Laboratory, driver: str) -> None:
    """Connection reset: as rendered, an idle connection that ended is not noticed."""
    assert "unavailable" not in stale_connection(lab, driver)


@pytest.mark.parametrize("query", ["", "?sslmode=require"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_tls_is_used(lab: Laboratory, driver: str, query: str) -> None:
    """SSL required: as rendered, with sslmode=require and also without."""
    direct = tls_url(lab.tls_port, query)
    output = lab.run(f"postgres-queuepool-{driver}", UPGRADE, DATABASE_URL=direct)
    assert "Traceback" not in output
    pooled = tls_url(lab.tls_bouncer_port, query)
    with lab.service(f"pgbouncer-nullpool-{driver}", pooled) as service:
        assert statuses(service.url) == {200: 1}


def test_patterns_remedy_fails_with_asyncpg(lab: Laboratory) -> None:
    """SSL required: `?sslmode=require`, given to SQLAlchemy as it is, is a TypeError."""
    url = tls_url(lab.tls_port, "?sslmode=require").replace("://", "+asyncpg://")
    script = (
        "import asyncio\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        f"asyncio.run(create_async_engine({url!r}).connect().start())\n"
    )
    said = lab.script(script, "postgres-queuepool-asyncpg", tls_url(lab.tls_port, ""))
    assert "unexpected keyword argument 'sslmode'" in said


@pytest.mark.parametrize("bouncer", ["forgets", "follows"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_caches_are_off(lab: Laboratory, driver: str, pool: str, bouncer: str) -> None:
    """Prepared statement: as rendered, the same statements meet no prepared one."""
    url = lab.bouncers[bouncer].url(lab.fresh_database())
    variant = f"pgbouncer-{pool}-{driver}"
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
    project, _ = lab.project(f"pgbouncer-nullpool-{driver}")
    if not session_state:
        return project
    copy = copy_project(Project(project, {}), lab.folder)
    replace(
        copy / "alembic" / "env.py",
        ("pg_advisory_xact_lock", "pg_advisory_lock"),
        ("SET LOCAL lock_timeout", "SET lock_timeout"),
    )
    return copy


def upgrade(lab: Laboratory, driver: str, project: Path, url: str) -> str:
    """Run `alembic upgrade head` with `url` as the direct one; return its output."""
    lab.counts["commands"] += 1
    done = lab.environments(driver).run(project, *UPGRADE, DATABASE_URL_DIRECT=url)
    return done.stdout + done.stderr


def left_behind(lab: Laboratory, database: Database) -> tuple[str, int]:
    """Return the lock timeout that the pooler's next client has, and the locks held."""
    url = lab.bouncers["forgets"].url(database)
    with psycopg.connect(url, prepare_threshold=None) as client:
        row = client.execute("SHOW lock_timeout").fetchone()
    assert row is not None
    return row[0], len(database.execute(ADVISORY_LOCKS))


@pytest.mark.parametrize("driver", DRIVERS)
def test_migration_through_pooler_leaves_its_session_behind(
    lab: Laboratory, driver: str
) -> None:
    """Slow migrations: the next one waits for a lock that nobody will ever release."""
    database = lab.server.create_database()
    project = migrating_project(lab, driver, session_state=True)
    upgrade(lab, driver, project, lab.bouncers["forgets"].url(database))
    assert left_behind(lab, database) == ("5s", 1)
    outputs: list[str] = []
    thread = threading.Thread(
        target=lambda: outputs.append(upgrade(lab, driver, project, database.url))
    )
    thread.start()
    wait_for(lambda: database.execute(LOCK_WAITERS), "the migration that waits")
    [(holder,)] = database.execute(ADVISORY_LOCKS)
    database.execute("SELECT pg_terminate_backend(%s)", holder)
    thread.join()
    assert len(outputs) == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_migration_past_the_pooler_leaves_nothing_behind(
    lab: Laboratory, driver: str
) -> None:
    """Slow migrations: as rendered, on the direct URL, the next one finds no lock."""
    database = lab.server.create_database()
    project = migrating_project(lab, driver, session_state=False)
    for _ in range(2):
        upgrade(lab, driver, project, database.url)
        assert left_behind(lab, database) == ("0", 0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_pooler_refuses_settings_at_startup(lab: Laboratory, driver: str) -> None:
    """Slow migrations: a timeout for the session works on the direct URL alone."""
    database = lab.server.create_database()
    variant = f"pgbouncer-nullpool-{driver}"
    options = "?options=-c%20lock_timeout%3D3s"
    pooled = lab.bouncers["roomy"].url(database) + options
    said = lab.run(variant, UPGRADE, DATABASE_URL_DIRECT=pooled)
    assert "unsupported startup parameter" in said
    direct = database.url + options
    assert "Traceback" not in lab.run(variant, UPGRADE, DATABASE_URL_DIRECT=direct)
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
    project = bake.fresh(variant, python_version="3.13")
    file = project.path / "docker-compose.yml"
    text = project.read("docker-compose.yml")
    assert "condition: service_healthy" in text
    model = yaml.safe_load(text.replace("service_healthy", condition))
    slow = "sleep 6; exec docker-entrypoint.sh postgres"
    model["services"]["db"]["entrypoint"] = ["sh", "-c", slow]
    name = f"troubleshooting-{os.getpid()}-{condition.replace('_', '-')}"
    for service in model["services"].values():
        if "image" in service and "build" in service:
            service["image"] = f"{name}-image"
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
        docker(*compose, "down", "--volumes", "--timeout", "0", check=False)
        docker("image", "rm", "--force", f"{name}-image", check=False)
    said = done.stdout + done.stderr
    if condition == "service_healthy":
        assert done.returncode == 0, said
        assert "Migrations complete." in said
    else:
        assert done.returncode != 0, said
        assert "Connect call failed" in said


# The README's table.


def readme_texts(readme: str) -> list[str]:
    """Return the literal texts of the first column of the troubleshooting table."""
    section = readme.split("## Troubleshooting")[1].split("\n## ", maxsplit=1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [
        text for row in rows for text in re.findall("`([^`]+)`", row.split(" | ")[0])
    ]


def unknown_texts(readme: str, variant: Variant) -> list[str]:
    """Return the texts of a README that no wrong way has led to."""
    known = {
        symptom.text
        for symptom in SYMPTOMS
        if variant.database in symptom.databases and variant.driver in symptom.drivers
    }
    return [text for text in readme_texts(readme) if text not in known]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_readme_names_what_was_seen(bake: Bakery, variant: Variant) -> None:
    readme = bake(variant).read("README.md")
    assert len(readme_texts(readme)) >= 6
    assert unknown_texts(readme, variant) == []


def test_invented_text_is_found(bake: Bakery) -> None:
    variant = VARIANTS[0]
    readme = bake(variant).read("README.md")
    lock = "`canceling statement due to lock timeout`"
    assert lock in readme
    assert unknown_texts(readme.replace(lock, "`invented`"), variant)[-1:] == [
        "invented"
    ]
