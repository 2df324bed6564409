"""Each symptom of the troubleshooting table: the wrong way has it, the right has not.

The literal texts that a rendered README names are those that these tests have seen.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml

from lab.containers import docker
from lab.pairs import covering_variants
from lab.prepared import (
    DATABASES,
    DRIVERS,
    POOLS,
    chosen,
    copy_project,
    migrations_at_once,
    replace,
)
from lab.projects import Bakery
from lab.servers import Database, free_port
from lab.services import RunningService, ServiceEnvironment
from lab.symptoms import (
    CACHES_ON,
    CLIENTS,
    COLUMN_CHANGES,
    LOCK_WAITERS,
    SAME_STATEMENT_TWICE,
    WAIT_SECONDS,
    Laboratory,
    laboratory,
    log_of,
    plain_role,
    statuses,
    tables_locked,
    wait_for,
)
from lab.variants import VARIANTS, Variant

UNMIGRATED = [variant for variant in VARIANTS if not variant.migrate_service]
ALL = DATABASES
POOLED = sorted({each.database for each in UNMIGRATED if each.pooled_endpoint})
DIRECT = sorted({each.database for each in UNMIGRATED if not each.pooled_endpoint})
UPGRADE = "upgrade head"
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
        f"{len({symptom.text for symptom in SYMPTOMS})} texts, {running.counts['services']} services,"
        f" {running.counts['commands']} commands"
    )


# The wrong ways. Each returns what the service or the command says.


def nothing_listens(lab: Laboratory, variant: Variant) -> str:
    url = f"postgresql://app:s3cret@127.0.0.1:{free_port()}/app"
    with lab.service(variant, url) as service:
        assert statuses(service.url) == {503: 1}
        return log_of(service)


def nothing_listens_for_alembic(lab: Laboratory, variant: Variant) -> str:
    url = f"postgresql://app:s3cret@127.0.0.1:{free_port()}/app"
    return lab.alembic(variant, UPGRADE, url)


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
    lab: Laboratory,
    variant: Variant,
    database: Database,
    url: str,
    text: str,
    **variables: str,
) -> str:
    """Send more requests at once than there are connections."""
    with lab.service(variant, url, **variables) as service:
        _, failed = crowd(service, database, lambda: text in log_of(service))
        assert failed
        return log_of(service)


# A pool, if there is one, that lets every request have a connection.
UNLIMITED = {"DB_POOL_SIZE": str(CLIENTS)}


def server_full(lab: Laboratory, variant: Variant) -> str:
    database = lab.fresh_database()
    text = "sorry, too many clients already"
    return too_many_requests(lab, variant, database, database.url, text, **UNLIMITED)


def server_full_for_a_plain_role(lab: Laboratory, variant: Variant) -> str:
    database = lab.fresh_database()
    url = plain_role(lab.server, database)
    text = "remaining connection slots are reserved"
    return too_many_requests(lab, variant, database, url, text, **UNLIMITED)


def pgbouncer_full(lab: Laboratory, variant: Variant) -> str:
    database = lab.fresh_database()
    url = lab.url(variant, database, "narrow")
    text = "no more connections allowed"
    return too_many_requests(lab, variant, database, url, text)


def pool_full(lab: Laboratory, variant: Variant) -> str:
    database = lab.fresh_database()
    url = lab.url(variant, database)
    limit = {"DB_POOL_TIMEOUT": "1"}
    return too_many_requests(lab, variant, database, url, "QueuePool limit", **limit)


def ended_mid_request(lab: Laboratory, variant: Variant) -> str:
    """End the connection of a request that waits for a lock."""
    database = lab.fresh_database()
    url = lab.url(variant, database)
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


def stale_connection(
    lab: Laboratory, variant: Variant, *changes: tuple[str, str]
) -> str:
    """End every idle connection of a service; return what it logs at the next."""
    database = lab.fresh_database()
    with lab.service(variant, database.url, *changes) as service:
        assert statuses(service.url) == {200: 1}
        lab.server.terminate_backends()
        wait_for(lambda: not database.execute(BACKENDS), "the end of the connections")
        expected = {503: 1} if changes else {200: 1}
        assert statuses(service.url) == expected
        return log_of(service)


def stale_without_check(lab: Laboratory, variant: Variant) -> str:
    return stale_connection(lab, variant, UNCHECKED)


def tls_url(port: int, query: str) -> str:
    return f"postgresql://app:s3cret@127.0.0.1:{port}/app{query}"


def plain_to_tls_server(lab: Laboratory, variant: Variant) -> str:
    return lab.alembic(variant, UPGRADE, tls_url(lab.tls_port, "?sslmode=disable"))


def plain_to_tls_pgbouncer(lab: Laboratory, variant: Variant) -> str:
    url = tls_url(lab.tls_bouncer_port, "?sslmode=disable")
    with lab.service(variant, url) as service:
        assert statuses(service.url) == {503: 1}
        return log_of(service)


def two_processes(
    lab: Laboratory, variant: Variant, url: str, *changes: tuple[str, str]
) -> str:
    """Run the same statements in two processes, which share a server connection.

    asyncpg counts its statements for each process, psycopg for each connection.
    """
    return "".join(
        lab.script(SAME_STATEMENT_TWICE, variant, url, *changes) for _ in range(2)
    )


def prepared_through_pgbouncer(lab: Laboratory, variant: Variant) -> str:
    """Use the engine of a service for a direct connection with a pooler's URL."""
    url = lab.bouncers["forgets"].url(lab.fresh_database())
    return two_processes(lab, variant, url)


def caches_on(lab: Laboratory, variant: Variant) -> str:
    url = lab.bouncers["forgets"].url(lab.fresh_database())
    return two_processes(lab, variant, url, *CACHES_ON[variant.driver])


def column_changes_with_caches_on(lab: Laboratory, variant: Variant) -> str:
    url = lab.bouncers["follows"].url(lab.fresh_database())
    return lab.script(COLUMN_CHANGES, variant, url, *CACHES_ON[variant.driver])


def table_in_use(lab: Laboratory, variant: Variant) -> str:
    """Migrate while a transaction uses the version table."""
    database = lab.fresh_database()
    with psycopg.connect(database.url) as connection:
        connection.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        return lab.alembic(variant, "downgrade base", database.url)


def pooled_url_for_alembic(lab: Laboratory, variant: Variant) -> str:
    host = "ep-a-1-pooler.eu-central-1.aws.neon.tech"
    url = f"postgresql://app:s3cret@{host}/app?sslmode=require"
    return lab.alembic(variant, UPGRADE, url)


@dataclass(frozen=True)
class Symptom:
    """A text, the wrong way that leads to it, and the answers with which it does."""

    text: str
    wrong_way: Callable[[Laboratory, Variant], str]
    databases: Sequence[str]
    drivers: Sequence[str] = tuple(DRIVERS)
    pools: Sequence[str] = tuple(POOLS)

    def shown_by(self, variant: Variant) -> bool:
        """Tell whether the wrong way leads there in this variant."""
        return (
            variant.database in self.databases
            and variant.driver in self.drivers
            and variant.pool in self.pools
        )


ASYNCPG = ("asyncpg",)
PSYCOPG = ("psycopg",)
POOL_TEXT = "QueuePool limit of size 5 overflow 10 reached"
SYMPTOMS = [
    Symptom("Connection refused", nothing_listens, ALL),
    Symptom("Connection refused", nothing_listens_for_alembic, ALL, PSYCOPG),
    Symptom("Connect call failed", nothing_listens_for_alembic, ALL, ASYNCPG),
    Symptom("sorry, too many clients already", server_full, DIRECT),
    Symptom(
        "remaining connection slots are reserved",
        server_full_for_a_plain_role,
        ["postgres", "neon"],
    ),
    Symptom(
        "no more connections allowed (max_client_conn)", pgbouncer_full, ["pgbouncer"]
    ),
    Symptom(POOL_TEXT, pool_full, ALL, pools=["queuepool"]),
    Symptom(
        "terminating connection due to administrator command", ended_mid_request, ALL
    ),
    Symptom(
        "connection was closed in the middle of operation",
        ended_mid_request,
        ALL,
        ASYNCPG,
    ),
    Symptom(
        "connection is closed", stale_without_check, DIRECT, ASYNCPG, ["queuepool"]
    ),
    Symptom(
        "terminating connection due to administrator command",
        stale_without_check,
        DIRECT,
        PSYCOPG,
        ["queuepool"],
    ),
    Symptom("no encryption", plain_to_tls_server, DIRECT),
    Symptom("SSL required", plain_to_tls_pgbouncer, POOLED),
    Symptom(
        'prepared statement "__asyncpg_stmt_1__" already exists',
        prepared_through_pgbouncer,
        DIRECT,
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
        DIRECT,
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
    """Return every symptom, with variants that hold every pair of its answers."""
    return [
        pytest.param(
            symptom, variant, id=f"{symptom.wrong_way.__name__}-{number}-{variant}"
        )
        for number, symptom in enumerate(SYMPTOMS)
        for variant in covering_variants(
            [each for each in UNMIGRATED if symptom.shown_by(each)],
            ("database", "pool", "driver"),
        )
    ]


@pytest.fixture(scope="module")
def said(lab: Laboratory) -> Callable[[Symptom, Variant], str]:
    """Go each wrong way once; return what was said there."""
    outputs: dict[tuple[str, Variant], str] = {}

    def go(symptom: Symptom, variant: Variant) -> str:
        key = (symptom.wrong_way.__name__, variant)
        if key not in outputs:
            outputs[key] = symptom.wrong_way(lab, variant)
        return outputs[key]

    return go


@pytest.mark.parametrize(("symptom", "variant"), symptom_cases())
def test_wrong_way(
    said: Callable[[Symptom, Variant], str], symptom: Symptom, variant: Variant
) -> None:
    assert symptom.text in said(symptom, variant)


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
        chosen("pgbouncer", "nullpool", driver), bouncer.url(database)
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


@pytest.mark.parametrize("bouncer", ["forgets", "follows"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("driver", DRIVERS)
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
    copy = copy_project(project, lab.folder)
    replace(
        copy / "alembic" / "env.py",
        ("pg_try_advisory_xact_lock", "pg_try_advisory_lock"),
        ("SET LOCAL lock_timeout", "SET lock_timeout"),
    )
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
        wait_for(following.waits, "the migration that waits")
        [(holder,)] = database.execute(ADVISORY_LOCKS)
        database.execute("SELECT pg_terminate_backend(%s)", holder)
        assert following.process.wait(WAIT_SECONDS) == 0


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


# The README's table.


def said_in_rows(readme: str) -> list[str]:
    """Return the first column of the troubleshooting table."""
    section = readme.split("## Troubleshooting")[1].split("\n## ", maxsplit=1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [row.removeprefix("| ").split(" | ")[0] for row in rows]


def unknown_texts(readme: str, variant: Variant) -> list[str]:
    """Return the texts of a README that no wrong way has led to in this variant.

    A row without a literal text, which nobody could search for, counts as one.
    """
    known = {symptom.text for symptom in SYMPTOMS if symptom.shown_by(variant)}
    unknown = []
    for cell in said_in_rows(readme):
        texts = re.findall("`([^`]+)`", cell)
        unknown += [text for text in texts if text not in known] if texts else [cell]
    return unknown


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_readme_names_what_was_seen(bake: Bakery, variant: Variant) -> None:
    readme = bake(variant).read("README.md")
    assert len(said_in_rows(readme)) >= 6
    assert unknown_texts(readme, variant) == []


LOCK_ROW = "`canceling statement due to lock timeout`"


@pytest.mark.parametrize(
    ("pool", "row", "unknown"),
    [
        ("queuepool", "`invented`", "invented"),
        ("queuepool", "The migration waits.", "The migration waits."),
        ("queuepool", "canceling statement due to lock timeout", LOCK_ROW.strip("`")),
        ("nullpool", f"`{POOL_TEXT}`", POOL_TEXT),
    ],
    ids=["invented", "no-text", "no-code-span", "of-another-pool"],
)
def test_unknown_text_is_found(bake: Bakery, pool: str, row: str, unknown: str) -> None:
    variant = chosen("postgres", pool, "asyncpg")
    readme = bake(variant).read("README.md")
    assert LOCK_ROW in readme
    assert unknown_texts(readme.replace(LOCK_ROW, row), variant) == [unknown]
