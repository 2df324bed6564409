"""Faults under load, on real servers: nothing acknowledged is lost, nothing doubled.

Faults of the server or of the network hit eight services at once: with and without
PgBouncer, both pools, both drivers.
"""

import configparser
import json
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from lab import variants
from lab.clients import OTHERS, REFUSED, Load, Person, Record, load, refuse_at_commit
from lab.pgbouncers import PgBouncer, moved, pgbouncer
from lab.prepared import (
    DRIVERS,
    add_revision,
    api_seconds,
    chosen,
    copy_database,
    copy_project,
    migrate,
    migrations_at_once,
    replace,
)
from lab.projects import Bakery
from lab.proxies import Proxy, proxy
from lab.servers import Database, OwnServer, own_server
from lab.services import (
    RunningService,
    ServiceEnvironment,
    running_service,
)
from lab.symptoms import LOCK_WAITERS, tables_locked
from lab.variants import Variant

CLIENTS = 6
ROUND = 8  # Requests of a client that has worked through every operation.
TIMEOUT = 3  # Of connecting, of a command and of the pool, where a fault outlasts them.
OVERHEAD = 3  # What a busy machine adds to a timeout.
LONGEST = 3 * TIMEOUT + 2 * OVERHEAD  # All three, one after the other.

HEALTH_SECONDS = 1.5  # The most that /health/db may take.

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


@pytest.fixture(scope="module")
def servers(
    docker_engine: None,  # noqa: ARG001
    bake: Bakery,
    environments: Environments,
) -> Iterator[Servers]:
    """Run the servers and the proxies of this suite."""
    with ExitStack() as stack:
        server = stack.enter_context(own_server(max_connections="200"))
        port = urlsplit(server.url).port
        assert port is not None
        behind = stack.enter_context(proxy(port))
        bouncer = stack.enter_context(rendered_bouncer(bake, server.url))
        proxied = stack.enter_context(
            rendered_bouncer(bake, moved(server.url, behind.port))
        )
        template = server.create_database()
        project = bake(chosen("postgres", "nullpool", "asyncpg"))
        migrate(project.path, environments("asyncpg"), template)
        yield Servers(
            server=server,
            template=template,
            bouncer=bouncer,
            to_server=stack.enter_context(proxy(port)),
            to_bouncer=stack.enter_context(proxy(proxied.port)),
            behind_bouncer=behind,
            proxied_bouncer=proxied,
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


@pytest.fixture(scope="module")
def sites(
    bake: Bakery,
    environments: Environments,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Site]]:
    """Run eight services with the timeouts as rendered, and no proxy in the way."""
    folder = tmp_path_factory.mktemp("sites")
    with eight_sites(bake, environments, servers, folder, servers.url) as running:
        yield running


@pytest.fixture(scope="module")
def proxied_sites(
    bake: Bakery,
    environments: Environments,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Site]]:
    """Run eight services with short timeouts and a small pool, behind proxies."""
    with eight_sites(
        bake,
        environments,
        servers,
        tmp_path_factory.mktemp("proxied"),
        servers.proxied_url,
        DB_CONNECT_TIMEOUT=str(TIMEOUT),
        DB_COMMAND_TIMEOUT=str(TIMEOUT),
        DB_POOL_TIMEOUT=str(TIMEOUT),
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="1",
    ) as running:
        yield running


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


def connections(servers: Servers) -> Counter[str]:
    """Count the server's connections by the names of their databases."""
    rows = Database(servers.server.url).execute(
        "SELECT datname, count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' GROUP BY datname"
    )
    return Counter(dict(rows))


def wait_for_connections(servers: Servers, sites: list[Site]) -> Counter[str]:
    """Wait until the server has a connection of every site; return how many."""
    names = {site.database.name for site in sites}
    found: list[Counter[str]] = []

    def everybody_is_connected() -> bool:
        found.append(connections(servers))
        return names <= found[-1].keys()

    wait_until(everybody_is_connected)
    return found[-1]


# Each fault returns how many connections to each database the server has ended.


def restarted(servers: Servers, sites: list[Site], _: list[Load]) -> Counter[str]:
    """Restart the server as an administrator does."""
    ended = wait_for_connections(servers, sites)
    servers.server.restart()
    return ended


def crashed(servers: Servers, sites: list[Site], _: list[Load]) -> Counter[str]:
    """Let the server start again after something like a power failure."""
    ended = wait_for_connections(servers, sites)
    servers.server.stop(immediate=True)
    servers.server.start()
    return ended


def terminated(servers: Servers, _sites: list[Site], loads: list[Load]) -> Counter[str]:
    """End every connection, several times, while requests use them."""
    ended: Counter[str] = Counter()
    for _ in range(5):
        rows = Database(servers.server.url).execute(
            "SELECT datname, count(*) FILTER (WHERE pg_terminate_backend(pid))"
            " FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() GROUP BY datname"
        )
        ended.update(dict(rows))
        wait_for_answers(loads, CLIENTS)
    return ended


def stopped(servers: Servers, sites: list[Site], _: list[Load]) -> Counter[str]:
    """Have no server for 20 seconds."""
    ended = wait_for_connections(servers, sites)
    servers.server.stop()
    time.sleep(20)
    servers.server.start()
    return ended


FAULTS = {fault.__name__: fault for fault in (restarted, crashed, terminated, stopped)}


@dataclass
class ServerTrial:
    """What a fault of the server did: to each service, and to its connections."""

    services: dict[Variant, Trial]
    ended: dict[Variant, int]


@pytest.fixture(scope="module")
def trials(
    servers: Servers, sites: list[Site], report: list[str]
) -> Callable[[str], ServerTrial]:
    """Return what a fault of the server did to every service; it happens once."""

    @cache
    def happen(name: str) -> ServerTrial:
        ended: Counter[str] = Counter()
        found = under_load(
            sites, lambda loads: ended.update(FAULTS[name](servers, sites, loads))
        )
        report.extend(lines_of(f"server {name}", found))
        return ServerTrial(
            found, {site.variant: ended[site.database.name] for site in sites}
        )

    return happen


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


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_server(
    trials: Callable[[str], ServerTrial], fault: str, variant: Variant
) -> None:
    found = trials(fault)
    assert found.ended[variant], "the server ended no connection of it"
    trial = found.services[variant]
    if fault == "stopped":
        assert trial.record.unexpected(), "nobody missed the server"
    assert_survived(trial)


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
            wait_until(lambda: held.waiting() == number)
            yield held
        finally:
            control.rollback()


HOLES = ["before", "behind"]
PROBES = 3

Probe = tuple[int, float]


@dataclass
class Hole:
    """What became of what a black-holed network met, beside the load."""

    held: dict[Variant, httpx2.Response]
    early_probes: dict[Variant, list[Probe]]
    late_probes: dict[Variant, list[Probe]]
    connected: list[int]
    left: dict[Variant, int] = field(default_factory=dict)

    def probes(self, variant: Variant) -> list[Probe]:
        """Return what the probes of a service were told."""
        return self.early_probes[variant] + self.late_probes[variant]


@dataclass
class HoleTrial:
    """What a hole did to each service under load, and to other requests."""

    services: dict[Variant, Trial]
    hole: Hole


def probe(site: Site) -> list[Probe]:
    """Ask for readiness, again and again; return the statuses and the seconds."""
    url = f"{site.service.url}/health/db"
    answers = [httpx2.get(url, timeout=60, trust_env=False) for _ in range(PROBES)]
    return [(each.status_code, each.elapsed.total_seconds()) for each in answers]


def probe_all(sites: list[Site]) -> dict[Variant, list[Probe]]:
    """Probe all services at once, while nobody else asks them anything."""
    with ThreadPoolExecutor(len(sites)) as threads:
        found = list(threads.map(probe, sites))
    return {site.variant: each for site, each in zip(sites, found, strict=True)}


def fall_into_hole(sites: list[Site], proxies: list[Proxy], loads: list[Load]) -> Hole:
    """Forward nothing for a while, first to requests that the server works on."""
    for running in loads:
        running.pause()
    with ExitStack() as stack:
        held = [
            stack.enter_context(held_requests(site.service, site.database, 1))
            for site in sites
        ]
        accepted = [way.accepted for way in proxies]
        for way in proxies:
            stack.callback(way.forward)
            way.black_hole()
        for requests in held:
            requests.let_go()
        # The pools are full of connections that worked a moment ago.
        early = probe_all(sites)
        answers = [requests.answers()[0] for requests in held]
        for running in loads:
            running.resume()
        wait_for_answers(loads, 3 * CLIENTS, seconds=120)
        for running in loads:
            running.pause()
        late = probe_all(sites)
        connected = [
            way.accepted - before for way, before in zip(proxies, accepted, strict=True)
        ]
    for running in loads:
        running.resume()
    by_variant = {site.variant: a for site, a in zip(sites, answers, strict=True)}
    return Hole(by_variant, early, late, connected)


@pytest.fixture(scope="module")
def hole_trials(
    servers: Servers, proxied_sites: list[Site], report: list[str]
) -> Callable[[str], HoleTrial]:
    """Return what a black-holed network did to every service; it happens once."""

    @cache
    def happen(place: str) -> HoleTrial:
        proxies = {
            "before": [servers.to_server, servers.to_bouncer],
            "behind": [servers.behind_bouncer],
        }[place]
        affected = [
            site
            for site in proxied_sites
            if place == "before" or site.variant.database == "pgbouncer"
        ]
        holes: list[Hole] = []
        found = under_load(
            affected,
            lambda loads: holes.append(fall_into_hole(affected, proxies, loads)),
        )
        [hole] = holes
        hole.left = {site.variant: held_users(site.database) for site in affected}
        for variant, trial in found.items():
            slowest = max(seconds for _, seconds in hole.probes(variant))
            trial.note = f", /health/db in {slowest:.2f} s"
        report.extend(lines_of(f"black hole {place}", found))
        return HoleTrial(found, hole)

    return happen


@pytest.mark.parametrize(
    ("place", "variant"),
    [
        (place, variant)
        for place in HOLES
        for variant in VARIANTS
        if place == "before" or variant.database == "pgbouncer"
    ],
    ids=str,
)
def test_black_hole(
    hole_trials: Callable[[str], HoleTrial], place: str, variant: Variant
) -> None:
    found = hole_trials(place)
    trial, hole = found.services[variant], found.hole
    assert trial.record.unexpected(), "the hole swallowed nothing"
    assert_survived(trial)
    assert trial.record.slowest() <= LONGEST
    # In the middle of a query: the server did its work, and its answer got lost.
    held = hole.held[variant]
    assert (held.status_code, bool(held.headers["Retry-After"])) == (503, True)
    assert held.elapsed.total_seconds() <= LONGEST
    assert hole.left[variant] == 0
    # As they connect: the proxy let them in, and passed on nothing.
    assert min(hole.connected) > 0
    probes = hole.probes(variant)
    assert {status for status, _ in probes} == {503}
    assert max(seconds for _, seconds in probes) <= HEALTH_SECONDS


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


def assert_full_and_recovers(
    service: RunningService, database: Database, capacity: int, patience: float
) -> str:
    """Fill every connection, twice: others get 503 after `patience`, then all goes on.

    The second time shows that no connection has been lost the first time. Returns what
    happened.
    """
    seconds: list[float] = []
    acknowledged = 0
    for _ in range(2):
        with held_requests(service, database, capacity) as held:
            with ThreadPoolExecutor(10) as threads:
                refused = list(threads.map(page, [service] * 10))
            assert {response.status_code for response in refused} == {503}
            assert all(response.headers["Retry-After"] for response in refused)
            seconds += [response.elapsed.total_seconds() for response in refused]
            assert held.waiting() == capacity
            written = [response.status_code for response in held.release()]
            assert written == [201] * capacity
            acknowledged += len(written)
        assert page(service).status_code == 200
    found = held_users(database)
    assert found == acknowledged
    assert UNHANDLED not in service.log.read_text()
    assert min(seconds) >= patience
    assert max(seconds) < patience + OVERHEAD
    return (
        f" {len(seconds):2} requests refused after {min(seconds):.1f} to"
        f" {max(seconds):.1f} s, {acknowledged:2} users acknowledged, {found:2} found"
    )


def held_users(database: Database) -> int:
    """Return how many users of `held_requests` the table holds."""
    [(number,)] = database.execute(
        "SELECT count(*) FROM users WHERE name LIKE 'held %'"
    )
    return int(number)


@pytest.mark.parametrize("database_kind", LOCAL_DATABASES)
@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_pool(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    database_kind: str,
    driver: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen(database_kind, "queuepool", driver)
    database = servers.fresh_database()
    with running_service(
        environments(driver),
        bake(variant).path,
        tmp_path / "log",
        DATABASE_URL=servers.url(variant, database),
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="1",
        DB_POOL_TIMEOUT="1.5",
    ) as service:
        found = assert_full_and_recovers(service, database, capacity=3, patience=1.5)
    report.append(line("full pool", variant, found))


@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_server(
    bake: Bakery,
    environments: Environments,
    driver: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen("postgres", "nullpool", driver)
    project = bake(variant).path
    environment = environments(driver)
    with own_server(max_connections="6", superuser_reserved_connections="0") as server:
        database = server.create_database()
        migrate(project, environment, database)
        wait_for_lock(database)
        with running_service(
            environment, project, tmp_path / "log", DATABASE_URL=database.url
        ) as service:
            # One of the six is the test's own.
            found = assert_full_and_recovers(service, database, capacity=5, patience=0)
    report.append(line("full server", variant, found))


@pytest.mark.parametrize(
    ("limit", "patience"),
    [({"max_client_conn": "3"}, 0), ({"default_pool_size": "3"}, 2)],
    ids=["clients", "server-connections"],
)
@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_bouncer(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    driver: str,
    limit: dict[str, str],
    patience: float,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen("pgbouncer", "nullpool", driver)
    database = servers.fresh_database()
    with (
        rendered_bouncer(
            bake, servers.server.url, **{"query_wait_timeout": "2"} | limit
        ) as bouncer,
        running_service(
            environments(driver),
            bake(variant).path,
            tmp_path / "log",
            DATABASE_URL=bouncer.url(database),
        ) as service,
    ):
        found = assert_full_and_recovers(
            service, database, capacity=3, patience=patience
        )
    report.append(line("full PgBouncer", variant, found))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_commit_that_fails(
    sites: list[Site], variant: Variant, report: list[str]
) -> None:
    [site] = [site for site in sites if site.variant == variant]
    made = create(site.service, 1).json()
    with (
        needed(site.database, made["id"]),
        httpx2.Client(base_url=site.service.url, trust_env=False) as http,
    ):
        user = f"/users/{made['id']}"
        refused = {"name": REFUSED, "email": "refused@example.com"}
        answers = [
            http.post("/users", json=refused),
            http.patch(user, json={"name": REFUSED}),
            http.delete(user),
        ]
        assert [answer.status_code for answer in answers] == [409, 409, 409]
        assert http.get(user).json() == made
    found = site.database.execute("SELECT id FROM users WHERE name = %s", REFUSED)
    assert not found
    text = f" {len(answers)} COMMITs refused, answered 409, {len(found)} writes found"
    report.append(line("COMMIT that fails", variant, text))


@contextmanager
def needed(database: Database, user_id: int) -> Iterator[None]:
    """Let COMMIT fail where a transaction has deleted this user."""
    database.execute(
        """
        CREATE TABLE needed (
            user_id int REFERENCES users DEFERRABLE INITIALLY DEFERRED
        )
        """
    )
    try:
        database.execute("INSERT INTO needed VALUES (%s)", user_id)
        yield
    finally:
        database.execute("DROP TABLE needed")


def command_options(bake: Bakery, variant: Variant) -> list[str]:
    """Return the options of the image's command that say how uvicorn stops."""
    [line] = [
        line
        for line in bake(variant).read("Dockerfile").splitlines()
        if line.startswith("CMD") and "uvicorn" in line
    ]
    command = json.loads(line.removeprefix("CMD"))
    return [
        argument
        for name, value in pairwise(command)
        if name.startswith("--") and name not in ("--host", "--port")
        for argument in (name, value)
    ]


def refuses_connections(service: RunningService) -> bool:
    """Whether nothing listens any more on the service's port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", urlsplit(service.url).port or 0)) != 0


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


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


# A request of each kind that SIGTERM finds begun, and how it is answered all the same.
BEGUN = {
    ("POST", "/users"): 201,
    ("GET", "/users"): 200,
    ("GET", "/users/{0}"): 200,
    ("PATCH", "/users/{1}"): 200,
    ("DELETE", "/users/{2}"): 204,
}


def send(service: RunningService, method: str, path: str) -> httpx2.Response:
    """Send a request that has a new user's data as its body, wanted or not."""
    body = {"name": "begun", "email": f"{time.monotonic_ns()}{OTHERS}"}
    url = f"{service.url}{path}"
    return httpx2.request(method, url, json=body, timeout=90, trust_env=False)


def lock_waiters(database: Database) -> int:
    """Return how many statements on a database wait for a lock."""
    return len(database.execute(LOCK_WAITERS))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sigterm(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    variant: Variant,
    tmp_path: Path,
    report: list[str],
) -> None:
    grace = api_seconds(bake(variant), "stop_grace_period")
    with one_site(servers, bake, environments, variant, tmp_path) as site:
        service = site.service
        users = [create(service, number).json()["id"] for number in range(3)]
        with (
            load(service.url, clients=9) as clients,
            ThreadPoolExecutor(len(BEGUN)) as threads,
        ):
            clients.wait_for_rounds(2)
            with tables_locked(site.database):
                begun = [
                    threads.submit(send, service, method, path.format(*users))
                    for method, path in BEGUN
                ]
                # The clients' requests wait there as well, each in the database.
                everybody = len(BEGUN) + clients.record.clients
                wait_until(lambda: lock_waiters(site.database) == everybody)
                asked = time.monotonic()
                service.process.send_signal(signal.SIGTERM)
                wait_until(lambda: refuses_connections(service))
                time.sleep(1)  # Whoever drops requests has done so by then.
            answers = [request.result() for request in begun]
            code = service.process.wait(grace)
            took = time.monotonic() - asked
        record = clients.record
        assert code in (0, -signal.SIGTERM)
        assert took < grace
        wait_until(lambda: clients_left(servers, site) == 0, seconds=OVERHEAD)
        assert [answer.status_code for answer in answers] == list(BEGUN.values())
        under_way = [a for a in record.answers if a.started < asked <= a.finished]
        assert len(under_way) == record.clients
        assert all(answer.as_expected for answer in under_way), under_way
        assert {answer.status for answer in record.unexpected()} <= {None}
        assert not record.contradictions
        # A request that was begun has been answered: what is stored was acknowledged.
        for person in record.persons.values():
            person.may_be_absent |= not person.acknowledged
        assert not record.compare(site.database)
        unanswered = [p.email for p in record.persons.values() if not p.acknowledged]
        stored = site.database.execute(
            "SELECT email FROM users WHERE email = ANY(%s)", unanswered
        )
        assert not stored
        assert UNHANDLED not in service.log.read_text()
        text = f"{record.summary(site.database)}, exit in {took:4.1f} s"
        report.append(line("SIGTERM", variant, text))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sigkill(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    variant: Variant,
    tmp_path: Path,
    report: list[str],
) -> None:
    with one_site(servers, bake, environments, variant, tmp_path) as site:
        with load(site.service.url, clients=20) as clients:
            clients.wait_for_rounds(6)
            with held_requests(site.service, site.database, 3) as held:
                site.service.stop(signal.SIGKILL)
                errors = [request.exception() for request in held.requests]
        wait_until(lambda: clients_left(servers, site) == 0)
        wait_until(lambda: clients_left_in_transaction(site) == 0)
    record = clients.record
    assert all(isinstance(error, httpx2.TransportError) for error in errors), errors
    assert held_users(site.database) == 0
    assert {answer.status for answer in record.unexpected()} == {None}
    assert not record.contradictions
    assert not record.compare(site.database)
    text = f"{record.summary(site.database)}, {len(errors)} in the middle of a write"
    report.append(line("SIGKILL", variant, text))


def test_sigterm_in_the_hole(
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    tmp_path: Path,
    report: list[str],
) -> None:
    """With a server that answers nothing the exit is within the grace period, too."""
    way = servers.to_server

    def grace(variant: Variant) -> int:
        return api_seconds(bake(variant), "stop_grace_period")

    with ExitStack() as stack:
        stack.callback(way.forward)
        running: dict[Variant, tuple[RunningService, Load]] = {}
        for variant in DIRECT:
            service = stack.enter_context(
                running_service(
                    environments(variant.driver),
                    bake(variant).path,
                    tmp_path / f"{variant}.log",
                    *command_options(bake, variant),
                    DATABASE_URL=servers.proxied_url(variant, servers.fresh_database()),
                )
            )
            clients = stack.enter_context(load(service.url, clients=CLIENTS))
            running[variant] = service, clients
        for _, clients in running.values():
            clients.wait_for_rounds(2)
        way.black_hole()
        time.sleep(1)
        asked = time.monotonic()
        for service, _ in running.values():
            service.process.send_signal(signal.SIGTERM)
        took = {}
        for variant, (service, _) in running.items():
            service.process.wait(3 * grace(variant))
            took[variant] = time.monotonic() - asked
    for variant, (service, clients) in running.items():
        record = clients.record
        report.append(
            line(
                "SIGTERM in a hole",
                variant,
                f"{record.clients:3} clients, {len(record.answers):5} requests,"
                f" {len(record.unexpected()):4} refused, exit in {took[variant]:4.1f} s",
            )
        )
        assert took[variant] < grace(variant)
        assert 500 not in {answer.status for answer in record.answers}
        assert UNHANDLED not in service.log.read_text()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_slow_command(proxied_sites: list[Site], variant: Variant) -> None:
    """A command that takes too long is 503, and its connection serves nobody else."""
    [site] = [site for site in proxied_sites if site.variant == variant]
    site.database.execute("TRUNCATE users")
    for _ in range(2):
        with held_requests(site.service, site.database, 3) as held:
            answers = [request.result() for request in held.requests]
            assert {answer.status_code for answer in answers} == {503}
            made = httpx2.post(
                f"{site.service.url}/users",
                json={"name": "next", "email": f"{time.monotonic_ns()}{OTHERS}"},
                timeout=60,
                trust_env=False,
            )
            assert (made.status_code, made.json()["name"]) == (201, "next")
    assert site.database.execute("SELECT DISTINCT name FROM users") == [("next",)]
    wait_until(lambda: clients_left_in_transaction(site) == 0)


def clients_left_in_transaction(site: Site) -> int:
    """Return how many connections to a database are in a transaction."""
    [(number,)] = site.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state <> 'idle'"
        " AND backend_type = 'client backend'"
    )
    return int(number)


MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('alembic', 0))"


@pytest.mark.parametrize("way", ["direct", "through-pgbouncer"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_four_migrations_at_once(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    driver: str,
    way: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    """All wait for a fifth that holds their lock, so that none can be over too soon."""
    variant = chosen("postgres" if way == "direct" else "pgbouncer", "nullpool", driver)
    project = bake(variant).path
    database = servers.server.create_database()
    url = servers.url(variant, database)
    environment = environments(driver)
    with psycopg.connect(database.url) as fifth:
        fifth.execute(MIGRATION_LOCK)
        with migrations_at_once(environment, project, url, tmp_path, 4) as four:
            wait_until(lambda: all(each.waits() for each in four), seconds=90)
            fifth.rollback()
            codes = [migration.process.wait(90) for migration in four]
    outputs = [migration.log.read_text() for migration in four]
    assert codes == [0] * len(four), outputs
    upgrades = [output.count("Running upgrade") for output in outputs]
    assert sorted(upgrades) == [0, 0, 0, 1]
    assert database.execute(VERSION) == [("0001",)]
    assert not database.execute("SELECT id FROM users")
    text = f" {len(four)} waited, {sum(upgrades)} migrated, exit codes {codes}"
    report.append(line("migrations at once", variant, text))


SCHEMA = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
)
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
VERSION = "SELECT version_num FROM alembic_version"

HALF = """op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
op.alter_column("users", "name", type_=sa.Text())
op.execute("UPDATE users SET name = 'half-way'")
"""
DEATHS = {
    "raises": 'raise RuntimeError("half-way")',
    "wrong-sql": 'op.execute("SELECT no_such_column FROM users")',
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_migration_that_dies_half_way(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    driver: str,
    death: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen("postgres", "nullpool", driver)
    environment = environments(driver)
    database = copy_database(servers.server, servers.template)
    database.execute("INSERT INTO users VALUES (1, 'whole', 'a@b', now())")
    questions = (SCHEMA, INDEXES, VERSION, "SELECT * FROM users")
    before = [database.execute(question) for question in questions]
    project = copy_project(bake(variant), tmp_path)
    add_revision(project, HALF + DEATHS[death])
    upgrade = ("alembic", "upgrade", "head")
    run = environment.run(project, *upgrade, check=False, DATABASE_URL=database.url)
    assert run.returncode != 0
    assert [database.execute(question) for question in questions] == before
    add_revision(project, HALF)
    migrate(project, environment, database)
    assert database.execute("SELECT name FROM users") == [("half-way",)]
    assert [database.execute(question) for question in questions] != before
    text = f" {death}: schema and rows as before, and migrates when mended"
    report.append(line("migration that dies", variant, text))


def test_comparison_can_fail(servers: Servers) -> None:
    database = copy_database(servers.server, servers.template)
    database.execute(
        "INSERT INTO users VALUES (1, 'kept', 'kept@x', now()),"
        " (2, 'changed', 'renamed@x', now()), (3, 'back', 'deleted@x', now()),"
        " (4, 'moved', 'moved@x', now()), (5, 'strange', 'strange@x', now())"
    )
    database.execute("DROP INDEX uq_users_email_lower")
    database.execute("INSERT INTO users VALUES (6, 'twice', 'kept@x', now())")
    record = Record(clients=1)
    for number, name in enumerate(["kept", "renamed", "deleted", "moved", "lost"], 1):
        email = f"{name}@x"
        person = Person(email, {name}, {name}, number, acknowledged=True)
        person.may_be_absent = person.deleted = name == "deleted"
        person.id = 40 if name == "moved" else number
        record.persons[email] = person
    assert record.compare(database) == [
        "kept@x is stored 2 times",
        "renamed@x is called 'changed', not one of {'renamed'}",
        "deleted@x is stored, but its deletion was acknowledged",
        "moved@x has id 4, but 40 was acknowledged",
        "lost@x is lost",
        "nobody wrote strange@x",
    ]


def test_commit_after_the_response_is_seen(
    servers: Servers, bake: Bakery, environments: Environments, tmp_path: Path
) -> None:
    """With FastAPI's default scope the same refused COMMIT follows a 201."""
    variant = chosen("postgres", "nullpool", "psycopg")
    project = copy_project(bake(variant), tmp_path)
    replace(
        project / "app" / "core" / "database.py",
        ('(get_session, scope="function")', '(get_session, scope="request")'),
    )
    database = servers.fresh_database()
    with running_service(
        environments("psycopg"), project, tmp_path / "log", DATABASE_URL=database.url
    ) as service:
        body = {"name": REFUSED, "email": "refused@example.com"}
        answer = httpx2.post(f"{service.url}/users", json=body, trust_env=False)
    assert answer.status_code == 201
    assert not database.execute("SELECT id FROM users")
