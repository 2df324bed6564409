"""The wrong ways that lead to a symptom. Each returns what the service or command says."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from lab.databases import ON_DATABASE
from lab.prepared import CACHES_ON, DATABASES, DRIVERS, POOLS
from lab.servers import Database, free_port
from lab.services import RunningService
from lab.symptoms import (
    CLIENTS,
    COLUMN_CHANGES,
    LOCK_WAITERS,
    Laboratory,
    log_of,
    plain_role,
    statuses,
    tables_locked,
)
from lab.variants import QUESTIONS, ROOT, VARIANTS, Variant
from lab.waiting import wait_until

UNMIGRATED = [variant for variant in VARIANTS if not variant.migrate_service]
ALL = DATABASES
POOLED = sorted({each.database for each in UNMIGRATED if each.pooled_endpoint})
DIRECT = sorted({each.database for each in UNMIGRATED if not each.pooled_endpoint})
UPGRADE = "upgrade head"
UNCHECKED = ("app/core/database.py", "check_before_use(engine)\n", "")
BACKENDS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
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
        wait_until(condition, "a crowd of requests")
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


# A pool that lets every request have a connection.
UNLIMITED = {"DB_POOL_SIZE": str(CLIENTS), "DB_MAX_CONNECTIONS": str(CLIENTS)}


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
    return too_many_requests(lab, variant, database, url, POOL_TEXT, **limit)


def ended_mid_request(lab: Laboratory, variant: Variant) -> str:
    """End the connection of a request that waits for a lock."""
    database = lab.fresh_database()
    url = lab.url(variant, database)
    counted = []
    with lab.service(variant, url) as service, tables_locked(database):
        thread = threading.Thread(target=lambda: counted.append(statuses(service.url)))
        thread.start()
        wait_until(lambda: database.execute(LOCK_WAITERS), "a request that waits")
        [(waiting,)] = database.execute(LOCK_WAITERS)
        database.execute("SELECT pg_terminate_backend(%s)", waiting)
        thread.join()
        assert counted == [{503: 1}]
        return log_of(service)


def stale_connection(
    lab: Laboratory, variant: Variant, *changes: tuple[str, str, str]
) -> str:
    """End every idle connection of a service; return what it logs at the next."""
    database = lab.fresh_database()
    with lab.service(variant, database.url, *changes) as service:
        assert statuses(service.url) == {200: 1}
        lab.server.terminate_backends()
        wait_until(lambda: not database.execute(BACKENDS), "the end of the connections")
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


def column_changes_with_caches_on(lab: Laboratory, variant: Variant) -> str:
    url = lab.bouncers["follows"].url(lab.fresh_database())
    return lab.script(COLUMN_CHANGES, variant, url, *CACHES_ON[variant.driver])


def table_in_use(lab: Laboratory, variant: Variant) -> str:
    """Migrate while a transaction uses the version table."""
    database = lab.fresh_database()
    with psycopg.connect(database.url) as connection:
        connection.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        return lab.alembic(variant, "downgrade base", database.url)


def not_migrated(lab: Laboratory, variant: Variant) -> str:
    url = lab.url(variant, lab.server.create_database())
    with lab.service(variant, url) as service:
        assert statuses(service.url) == {503: 1}
        return log_of(service)


def may_not_create_tables(lab: Laboratory, variant: Variant) -> str:
    url = plain_role(lab.server, lab.server.create_database())
    return lab.alembic(variant, UPGRADE, url)


def pooled_url_for_alembic(lab: Laboratory, variant: Variant) -> str:
    url = f"{ON_DATABASE[variant.database].requests}?sslmode=require"
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


def databases_that_name(text: str) -> list[str]:
    """Return the databases whose part of the README has a text."""
    folder = ROOT / "templates" / "databases"
    return [name for name in ALL if text in (folder / f"{name}.j2").read_text()]


FACTS_OF_DRIVERS: dict[str, dict[str, str]] = QUESTIONS["_drivers"]
ASYNCPG = ("asyncpg",)
PSYCOPG = ("psycopg",)
POOL_TEXT = "connections were in use for"
SYMPTOMS = [
    Symptom("Connection refused", nothing_listens, ALL),
    *(
        Symptom(
            facts["refused"].split("`")[-2], nothing_listens_for_alembic, ALL, [driver]
        )
        for driver, facts in FACTS_OF_DRIVERS.items()
    ),
    Symptom("sorry, too many clients already", server_full, DIRECT),
    Symptom(
        "remaining connection slots are reserved",
        server_full_for_a_plain_role,
        databases_that_name("remaining connection slots are reserved"),
    ),
    Symptom(
        "no more connections allowed (max_client_conn)", pgbouncer_full, ["pgbouncer"]
    ),
    Symptom(POOL_TEXT, pool_full, ALL),
    *(
        Symptom(facts["ended"], ended_mid_request, ALL, [driver])
        for driver, facts in FACTS_OF_DRIVERS.items()
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
        "cached statement plan is invalid",
        column_changes_with_caches_on,
        POOLED,
        ASYNCPG,
    ),
    Symptom("canceling statement due to lock timeout", table_in_use, ALL),
    Symptom("run alembic upgrade head", not_migrated, ALL),
    Symptom("permission denied for schema public", may_not_create_tables, ALL),
    *(
        Symptom(expected.refused, pooled_url_for_alembic, [database])
        for database, expected in ON_DATABASE.items()
        if expected.refused
    ),
]
