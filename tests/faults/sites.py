"""Services under load on real servers, and what a fault does to them.

Faults of the server or of the network hit eight services at once: with and without
PgBouncer, both pools, both drivers. Whether a Compose service migrates is in no file
that runs here.
"""

import configparser
import json
import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import httpx2
import psycopg

from lab import variants
from lab.clients import OTHERS, Load, Record, load, refuse_at_commit
from lab.pgbouncers import PgBouncer, moved, pgbouncer
from lab.prepared import chosen, copy_database
from lab.projects import Bakery
from lab.proxies import Proxy
from lab.servers import Database, OwnServer
from lab.services import RunningService, ServiceEnvironment, running_service
from lab.variants import Variant
from lab.waiting import wait_until

CLIENTS = 6
ROUND = 8  # Requests of a client that has worked through every operation.
TIMEOUT = 3  # Of a command, where a fault outlasts it.
CONNECT_TIMEOUT = (
    2  # Of connecting and of the pool, too: the least that libpq keeps to.
)
OVERHEAD = 3  # What a busy machine adds to a timeout.
LONGEST = TIMEOUT + 2 * CONNECT_TIMEOUT + 2 * OVERHEAD  # One after the other.
UNHANDLED = "Exception in ASGI application"

# Those whose servers run here. Neon's have a suite of their own.
VARIANTS = [
    variant
    for variant in variants.VARIANTS
    if variant.local_database and not variant.migrate_service
]
LOCAL_DATABASES = sorted({variant.database for variant in VARIANTS})
DIRECT = [variant for variant in VARIANTS if variant.database == "postgres"]

Environments = Callable[[str], ServiceEnvironment]


@dataclass
class Site:
    """A service of one variant that runs, and its database."""

    variant: Variant
    database: Database
    service: RunningService
    url: str


@dataclass
class Servers:
    """PostgreSQL, PgBouncer, and proxies before and between them."""

    server: OwnServer
    template: Database
    bouncer: PgBouncer
    to_server: Proxy
    to_bouncer: Proxy
    behind_bouncer: Proxy
    proxied_bouncer: PgBouncer

    def fresh_database(self) -> Database:
        """Create a migrated database."""
        database = copy_database(self.server, self.template)
        refuse_at_commit(database)
        wait_for_lock(database)
        return database

    def url(self, variant: Variant, database: Database) -> str:
        """Return the URL that a service of `variant` is given."""
        if variant.database == "pgbouncer":
            return self.bouncer.url(database)
        return database.url

    def proxied_url(self, variant: Variant, database: Database) -> str:
        """Return that URL with a proxy in the way."""
        if variant.database == "pgbouncer":
            url = self.proxied_bouncer.url(database)
            return moved(url, self.to_bouncer.port)
        return moved(database.url, self.to_server.port)


def rendered_bouncer(
    bake: Bakery, url: str, **changes: str
) -> AbstractContextManager[PgBouncer]:
    """Run PgBouncer before the server at `url`, set as the rendered project sets it."""
    project = bake(chosen("pgbouncer", "nullpool", "asyncpg"))
    parser = configparser.ConfigParser()
    parser.read_string(project.read("pgbouncer.ini"))
    settings = {
        name: value
        for name, value in parser["pgbouncer"].items()
        if not name.startswith(("listen_", "auth_"))
    } | changes
    return pgbouncer(
        url,
        max_prepared_statements=int(settings.pop("max_prepared_statements", "200")),
        default_pool_size=int(settings.pop("default_pool_size")),
        **settings,
    )


@contextmanager
def eight_sites(
    bake: Bakery,
    environments: Environments,
    servers: Servers,
    folder: Path,
    url: Callable[[Variant, Database], str],
    **variables: str,
) -> Iterator[list[Site]]:
    """Run a service of every variant, each on a database of its own."""
    with ExitStack() as stack:
        sites = []
        for variant in VARIANTS:
            database = servers.fresh_database()
            address = url(variant, database)
            service = stack.enter_context(
                running_service(
                    environments(variant.driver),
                    bake(variant).path,
                    folder / f"{variant}.log",
                    DATABASE_URL=address,
                    **variables,
                )
            )
            sites.append(Site(variant, database, service, address))
        yield sites


@dataclass
class Trial:
    """What became of one service under one fault."""

    record: Record
    contradictions: list[str]
    log: str
    recovery: float
    summary: str
    note: str = ""


def under_load(
    sites: list[Site], fault: Callable[[list[Load]], None]
) -> dict[Variant, Trial]:
    """Let a fault happen while every service has clients; wait until all go on."""
    for site in sites:
        site.database.execute("TRUNCATE users")
    already = {site.variant: len(site.service.log.read_text()) for site in sites}
    with ExitStack() as stack:
        loads = [
            stack.enter_context(load(s.service.url, clients=CLIENTS)) for s in sites
        ]
        for running in loads:
            running.wait_for_rounds(ROUND)
        fault(loads)
        healed = time.monotonic()
        for running in loads:
            running.wait_for_rounds(ROUND, since=healed)
    trials = {}
    for site, running in zip(sites, loads, strict=True):
        record = running.record
        failures = [a.finished for a in record.unexpected()]
        trials[site.variant] = Trial(
            record=record,
            contradictions=record.contradictions + record.compare(site.database),
            log=site.service.log.read_text()[already[site.variant] :],
            recovery=max(max(failures, default=healed) - healed, 0),
            summary=record.summary(site.database),
        )
    return trials


def wait_for_answers(loads: list[Load], number: int, seconds: float = 60) -> None:
    """Wait until every service gave `number` more answers, of whatever kind."""
    before = [len(running.record.answers) for running in loads]
    for running, count in zip(loads, before, strict=True):
        target = count + number
        running.wait_until(partial(has_answers, running.record, target), seconds)


def has_answers(record: Record, number: int) -> bool:
    """Whether the clients have got `number` answers."""
    return len(record.answers) >= number


def line(event: str, variant: Variant, text: str) -> str:
    """Write a line of the report."""
    return f"{event:19} {variant.id.removesuffix('-nomigrate'):27} {text}"


def lines_of(fault: str, trials: dict[Variant, Trial]) -> list[str]:
    """Write a line on every service of a fault."""
    return [
        line(
            fault,
            variant,
            f"{trial.summary}, slowest {trial.record.slowest():4.1f} s,"
            f" recovered in {trial.recovery:4.1f} s{trial.note}",
        )
        for variant, trial in trials.items()
    ]


def assert_survived(trial: Trial) -> None:
    """Assert that every failure was said, and that the table holds what was said."""
    assert not trial.record.wrong()
    assert not trial.contradictions
    assert UNHANDLED not in trial.log


HOLD = 4711  # The advisory lock that rows of `held_requests` wait for.


def wait_for_lock(database: Database) -> None:
    """Let INSERT wait for the advisory lock HOLD, where the name says so."""
    database.execute(
        f"""
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared({HOLD});
            RETURN NEW;
        END $$;
        CREATE TRIGGER hold BEFORE INSERT ON users
            FOR EACH ROW WHEN (NEW.name LIKE 'held %') EXECUTE FUNCTION hold();
        """
    )


@dataclass
class Held:
    """Requests in the middle of their transactions, each with its own connection."""

    requests: list[Future[httpx2.Response]]
    control: psycopg.Connection[tuple[int, ...]]

    def waiting(self) -> int:
        """Return how many transactions wait for the lock."""
        row = self.control.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        ).fetchone()
        return row[0] if row else 0

    def let_go(self) -> None:
        """Let the requests go on."""
        self.control.rollback()

    def answers(self) -> list[httpx2.Response]:
        """Return the answers to the requests, when they have come."""
        return [request.result() for request in self.requests]

    def release(self) -> list[httpx2.Response]:
        """Let the requests go on; return their answers."""
        self.let_go()
        return self.answers()


@contextmanager
def held_requests(
    service: RunningService, database: Database, number: int
) -> Iterator[Held]:
    """Let `number` requests wait in their transactions."""
    with (
        ThreadPoolExecutor(number) as threads,
        psycopg.connect(database.url) as control,
    ):
        control.execute("SELECT pg_advisory_xact_lock(%s)", [HOLD])
        requests = [threads.submit(create, service, n) for n in range(number)]
        held = Held(requests, control)
        try:
            wait_until(lambda: held.waiting() == number, "requests that wait")
            yield held
        finally:
            control.rollback()


def create(service: RunningService, number: int) -> httpx2.Response:
    """Create a user whom nobody has created before."""
    body = {
        "name": f"held {number}",
        "email": f"{time.monotonic_ns()}.{number}{OTHERS}",
    }
    return httpx2.post(f"{service.url}/users", json=body, timeout=90, trust_env=False)


def page(service: RunningService) -> httpx2.Response:
    """List users."""
    return httpx2.get(f"{service.url}/users", timeout=90, trust_env=False)


def held_users(database: Database) -> int:
    """Return how many users of `held_requests` the table holds."""
    [(number,)] = database.execute(
        "SELECT count(*) FROM users WHERE name LIKE 'held %'"
    )
    return int(number)


def command_options(bake: Bakery, variant: Variant) -> list[str]:
    """Return the options of the image's command that say how uvicorn stops."""
    [line] = [
        line
        for line in bake(variant).read("Dockerfile").splitlines()
        if line.startswith("CMD") and "uvicorn" in line
    ]
    command = shlex.split(json.loads(line.removeprefix("CMD"))[-1])
    return [
        argument
        for name, value in pairwise(command)
        if name.startswith("--") and name not in ("--host", "--port")
        for argument in (name, value)
    ]


def clients_left(servers: Servers, site: Site) -> int:
    """Return how many connections a service has left behind."""
    if site.variant.database == "pgbouncer":
        rows = servers.bouncer.show("CLIENTS")
        return sum(row["database"] == site.database.name for row in rows)
    return site.database.connections()


@contextmanager
def one_site(
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    variant: Variant,
    folder: Path,
) -> Iterator[Site]:
    """Run one service as its image does."""
    database = servers.fresh_database()
    url = servers.url(variant, database)
    with running_service(
        environments(variant.driver),
        bake(variant).path,
        folder / "log",
        *command_options(bake, variant),
        DATABASE_URL=url,
    ) as service:
        yield Site(variant, database, service, url)


def clients_left_in_transaction(site: Site) -> int:
    """Return how many connections to a database are in a transaction."""
    [(number,)] = site.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state <> 'idle'"
        " AND backend_type = 'client backend'"
    )
    return int(number)
