"""Faults under load, on real servers: nothing acknowledged is lost, nothing doubled.

Faults of the server or of the network hit eight services at once: with and without
PgBouncer, both pools, both drivers.
"""

import configparser
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise, product
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.clients import OTHERS, REFUSED, Load, Person, Record, load, refuse_at_commit
from tests.conftest import Bakery
from tests.pgbouncers import PgBouncer, moved, pgbouncer
from tests.prepared import (
    DRIVERS,
    POOLS,
    add_revision,
    chosen,
    copy_database,
    copy_project,
    migrate,
    replace,
)
from tests.proxies import Proxy, proxy
from tests.servers import Database, OwnServer, own_server
from tests.services import (
    RunningService,
    ServiceEnvironment,
    running_service,
)
from tests.variants import Variant

CLIENTS = 6
ROUND = 8  # Requests of a client that has worked through every operation.
GRACE_SECONDS = 30  # stop_grace_period of the Compose file.
TIMEOUT = 3  # Of connecting, of a command and of the pool, where a fault outlasts them.
LONGEST = 3 * TIMEOUT + 6  # All three, and what a busy machine adds.

UNHANDLED = "Exception in ASGI application"

VARIANTS = [
    chosen(database, pool, driver)
    for database, pool, driver in product(["postgres", "pgbouncer"], POOLS, DRIVERS)
]
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
    probes: list[tuple[int, float]] = field(default_factory=list)


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


def restarted(servers: Servers, _: list[Load]) -> None:
    """Restart the server as an administrator does."""
    servers.server.restart()


def crashed(servers: Servers, _: list[Load]) -> None:
    """Let the server start again after something like a power failure."""
    servers.server.stop(immediate=True)
    servers.server.start()


def terminated(servers: Servers, loads: list[Load]) -> None:
    """End every connection, several times, while requests use them."""
    for _ in range(5):
        servers.server.terminate_backends()
        wait_for_answers(loads, CLIENTS)


def stopped(servers: Servers, _: list[Load]) -> None:
    """Have no server for 20 seconds."""
    servers.server.stop()
    time.sleep(20)
    servers.server.start()


FAULTS = {fault.__name__: fault for fault in (restarted, crashed, terminated, stopped)}
HOLES = ["before", "behind"]

Trials = Callable[[str], dict[Variant, Trial]]


@pytest.fixture(scope="module")
def trials(servers: Servers, sites: list[Site], report: list[str]) -> Trials:
    """Return what a fault of the server did to every service; it happens once."""

    @cache
    def happen(name: str) -> dict[Variant, Trial]:
        found = under_load(sites, lambda loads: FAULTS[name](servers, loads))
        report.extend(lines_of(f"server {name}", found))
        return found

    return happen


@pytest.fixture(scope="module")
def hole_trials(
    servers: Servers, proxied_sites: list[Site], report: list[str]
) -> Trials:
    """Return what a black-holed network did to every service; it happens once."""

    @cache
    def happen(place: str) -> dict[Variant, Trial]:
        proxies = {
            "before": [servers.to_server, servers.to_bouncer],
            "behind": [servers.behind_bouncer],
        }[place]
        affected = [
            site
            for site in proxied_sites
            if place == "before" or site.variant.database == "pgbouncer"
        ]
        probes: dict[Variant, list[tuple[int, float]]] = {}

        def fault(loads: list[Load]) -> None:
            for way in proxies:
                way.black_hole()
            try:
                # The first were under way, the later ones meet the hole as they connect.
                wait_for_answers(loads, 3 * CLIENTS, seconds=120)
                for site in affected:
                    probes[site.variant] = [probe(site) for _ in range(3)]
            finally:
                for way in proxies:
                    way.forward()

        found = under_load(affected, fault)
        for variant, trial in found.items():
            trial.probes = probes[variant]
        report.extend(lines_of(f"black hole {place}", found))
        return found

    return happen


def probe(site: Site) -> tuple[int, float]:
    """Ask for readiness; return the status and how long it took."""
    response = httpx.get(f"{site.service.url}/health/db", timeout=60, trust_env=False)
    return response.status_code, response.elapsed.total_seconds()


def lines_of(fault: str, trials: dict[Variant, Trial]) -> list[str]:
    """Write a line on every service of a fault."""
    return [
        f"{fault:18} {variant.id.removesuffix('-nomigrate'):28}"
        f" {len(trial.record.answers):5} requests"
        f" {len(trial.record.unexpected()):4} refused,"
        f" {trial.record.acknowledged:4} users acknowledged,"
        f" slowest {trial.record.slowest():4.1f} s, recovered in {trial.recovery:4.1f} s"
        for variant, trial in trials.items()
    ]


def assert_survived(trial: Trial) -> None:
    """Assert that every failure was said, and that the table holds what was said."""
    assert not trial.record.wrong()
    assert not trial.contradictions
    assert UNHANDLED not in trial.log


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_server(trials: Trials, fault: str, variant: Variant) -> None:
    found = trials(fault)
    assert any(trial.record.unexpected() for trial in found.values()), "nobody felt it"
    assert_survived(found[variant])


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
def test_black_hole(hole_trials: Trials, place: str, variant: Variant) -> None:
    trial = hole_trials(place)[variant]
    assert trial.record.unexpected(), "the hole swallowed nothing"
    assert_survived(trial)
    assert trial.record.slowest() <= LONGEST
    assert {status for status, _ in trial.probes} == {503}
    assert min(seconds for _, seconds in trial.probes) <= 1.5


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

    requests: list[Future[httpx.Response]]
    control: psycopg.Connection[tuple[int, ...]]

    def waiting(self) -> int:
        """Return how many transactions wait for the lock."""
        row = self.control.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        ).fetchone()
        return row[0] if row else 0

    def release(self) -> list[httpx.Response]:
        """Let the requests go on; return their answers."""
        self.control.rollback()
        return [request.result() for request in self.requests]


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


def create(service: RunningService, number: int) -> httpx.Response:
    """Create a user whom nobody has created before."""
    body = {
        "name": f"held {number}",
        "email": f"{time.monotonic_ns()}.{number}{OTHERS}",
    }
    return httpx.post(f"{service.url}/users", json=body, timeout=90, trust_env=False)


def page(service: RunningService) -> httpx.Response:
    """List users."""
    return httpx.get(f"{service.url}/users", timeout=90, trust_env=False)


def assert_full_and_recovers(
    service: RunningService, database: Database, capacity: int, patience: float
) -> None:
    """Fill every connection, twice: others get 503 after `patience`, then all goes on.

    The second time shows that no connection has been lost the first time.
    """
    for _ in range(2):
        with held_requests(service, database, capacity) as held:
            with ThreadPoolExecutor(10) as threads:
                refused = list(threads.map(page, [service] * 10))
            assert {response.status_code for response in refused} == {503}
            assert all(response.headers["Retry-After"] for response in refused)
            fastest = min(response.elapsed.total_seconds() for response in refused)
            assert fastest >= patience
            assert held.waiting() == capacity
            assert {response.status_code for response in held.release()} == {201}
        assert page(service).status_code == 200
    assert UNHANDLED not in service.log.read_text()


@pytest.mark.parametrize("database_kind", ["postgres", "pgbouncer"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_pool(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    database_kind: str,
    driver: str,
    tmp_path: Path,
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
        assert_full_and_recovers(service, database, capacity=3, patience=1.5)


@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_server(
    bake: Bakery, environments: Environments, driver: str, tmp_path: Path
) -> None:
    project = bake(chosen("postgres", "nullpool", driver)).path
    environment = environments(driver)
    with own_server(max_connections="6", superuser_reserved_connections="0") as server:
        database = server.create_database()
        migrate(project, environment, database)
        wait_for_lock(database)
        with running_service(
            environment, project, tmp_path / "log", DATABASE_URL=database.url
        ) as service:
            # One of the six is the test's own.
            assert_full_and_recovers(service, database, capacity=5, patience=0)


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
) -> None:
    database = servers.fresh_database()
    with (
        rendered_bouncer(
            bake, servers.server.url, **{"query_wait_timeout": "2"} | limit
        ) as bouncer,
        running_service(
            environments(driver),
            bake(chosen("pgbouncer", "nullpool", driver)).path,
            tmp_path / "log",
            DATABASE_URL=bouncer.url(database),
        ) as service,
    ):
        assert_full_and_recovers(service, database, capacity=3, patience=patience)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_commit_that_fails(sites: list[Site], variant: Variant) -> None:
    [site] = [site for site in sites if site.variant == variant]
    site.database.execute(
        """
        CREATE TABLE needed (
            user_id int REFERENCES users DEFERRABLE INITIALLY DEFERRED
        )
        """
    )
    made = create(site.service, 1).json()
    site.database.execute("INSERT INTO needed VALUES (%s)", made["id"])
    with httpx.Client(base_url=site.service.url, trust_env=False) as http:
        user = f"/users/{made['id']}"
        refused = {"name": REFUSED, "email": "refused@example.com"}
        answers = [
            http.post("/users", json=refused),
            http.patch(user, json={"name": REFUSED}),
            http.delete(user),
        ]
        assert [answer.status_code for answer in answers] == [409, 409, 409]
        assert http.get(user).json() == made
    site.database.execute("DROP TABLE needed")
    assert not site.database.execute("SELECT id FROM users WHERE name = %s", REFUSED)


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
    [(number,)] = site.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return int(number)


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


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sigterm(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    variant: Variant,
    tmp_path: Path,
    report: list[str],
) -> None:
    with one_site(servers, bake, environments, variant, tmp_path) as site:
        service = site.service
        with load(service.url, clients=20) as clients:
            clients.wait_for_rounds(2)
            with held_requests(service, site.database, 3) as held:
                service.process.send_signal(signal.SIGTERM)
                asked = time.monotonic()
                wait_until(lambda: refuses_connections(service))
                answers = held.release()
            code = service.process.wait(GRACE_SECONDS)
            took = time.monotonic() - asked
        record = clients.record
        assert code in (0, -signal.SIGTERM)
        assert took < GRACE_SECONDS
        assert clients_left(servers, site) == 0
        assert {answer.status_code for answer in answers} == {201}
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
        report.append(
            f"SIGTERM            {variant.id.removesuffix('-nomigrate'):28}"
            f" {len(record.answers):5} requests,"
            f" {record.acknowledged:4} users acknowledged, exit in {took:4.1f} s"
        )


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
            site.service.stop(signal.SIGKILL)
        wait_until(lambda: clients_left(servers, site) == 0)
    record = clients.record
    assert {answer.status for answer in record.unexpected()} == {None}
    assert not record.contradictions
    assert not record.compare(site.database)
    report.append(
        f"SIGKILL            {variant.id.removesuffix('-nomigrate'):28}"
        f" {len(record.answers):5} requests,"
        f" {record.acknowledged:4} users acknowledged"
    )


def test_sigterm_in_the_hole(
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    tmp_path: Path,
    report: list[str],
) -> None:
    """With a server that answers nothing the exit is within the grace period, too."""
    way = servers.to_server
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
            service.process.wait(3 * GRACE_SECONDS)
            took[variant.id] = time.monotonic() - asked
        found = {
            variant: (clients.record.statuses(), service.log.read_text())
            for variant, (service, clients) in running.items()
        }
    report.append(
        f"SIGTERM in a hole: {took} {[statuses for statuses, _ in found.values()]}"
    )
    assert max(took.values()) < GRACE_SECONDS, took
    for statuses, log in found.values():
        assert not [status for status in statuses if status.endswith(" 500")], statuses
        assert UNHANDLED not in log


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_slow_command(
    servers: Servers, proxied_sites: list[Site], variant: Variant
) -> None:
    """A command that takes too long is 503, and its connection serves nobody else."""
    [site] = [site for site in proxied_sites if site.variant == variant]
    site.database.execute("TRUNCATE users")
    for _ in range(2):
        with held_requests(site.service, site.database, 3) as held:
            answers = [request.result() for request in held.requests]
            assert {answer.status_code for answer in answers} == {503}
            made = httpx.post(
                f"{site.service.url}/users",
                json={"name": "next", "email": f"{time.monotonic_ns()}{OTHERS}"},
                timeout=60,
                trust_env=False,
            )
            assert (made.status_code, made.json()["name"]) == (201, "next")
    assert site.database.execute("SELECT DISTINCT name FROM users") == [("next",)]
    wait_until(lambda: clients_left_in_transaction(site) == 0)
    assert servers.server.process is not None


def clients_left_in_transaction(site: Site) -> int:
    """Return how many connections to a database are in a transaction."""
    [(number,)] = site.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state <> 'idle'"
        " AND backend_type = 'client backend'"
    )
    return int(number)


def alembic_at_once(
    environment: ServiceEnvironment, project: Path, url: str, number: int
) -> list[subprocess.CompletedProcess[str]]:
    """Run `alembic upgrade head` several times at once."""
    with ThreadPoolExecutor(number) as threads:
        return [
            future.result()
            for future in [
                threads.submit(
                    environment.run,
                    project,
                    *("alembic", "upgrade", "head"),
                    check=False,
                    DATABASE_URL=url,
                    DATABASE_URL_DIRECT=url,
                )
                for _ in range(number)
            ]
        ]


@pytest.mark.parametrize("way", ["direct", "through-pgbouncer"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_four_migrations_at_once(
    servers: Servers, bake: Bakery, environments: Environments, driver: str, way: str
) -> None:
    kind = "postgres" if way == "direct" else "pgbouncer"
    project = bake(chosen(kind, "nullpool", driver)).path
    database = servers.server.create_database()
    url = database.url if way == "direct" else servers.bouncer.url(database)
    done = alembic_at_once(environments(driver), project, url, 4)
    assert [run.returncode for run in done] == [0] * 4, [run.stderr for run in done]
    upgrades = [run for run in done if "Running upgrade" in run.stderr]
    assert len(upgrades) == 1
    assert database.execute("SELECT version_num FROM alembic_version") == [("0001",)]
    assert not database.execute("SELECT id FROM users")


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
) -> None:
    environment = environments(driver)
    database = copy_database(servers.server, servers.template)
    database.execute("INSERT INTO users VALUES (1, 'whole', 'a@b', now())")
    questions = (SCHEMA, INDEXES, VERSION, "SELECT * FROM users")
    before = [database.execute(question) for question in questions]
    project = copy_project(bake(chosen("postgres", "nullpool", driver)), tmp_path)
    add_revision(project, HALF + DEATHS[death])
    [run] = alembic_at_once(environment, project, database.url, 1)
    assert run.returncode != 0
    assert [database.execute(question) for question in questions] == before
    add_revision(project, HALF)
    migrate(project, environment, database)
    assert database.execute("SELECT name FROM users") == [("half-way",)]
    assert [database.execute(question) for question in questions] != before


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
        answer = httpx.post(f"{service.url}/users", json=body, trust_env=False)
    assert answer.status_code == 201
    assert not database.execute("SELECT id FROM users")
