"""Rendered services on a Neon look-alike: PgBouncer and Postgres, TLS and SCRAM."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from lab.clients import told
from lab.containers import docker
from lab.neon.look_alike import (
    CA_IN_CONTAINER,
    DATABASE,
    DIRECT_HOST,
    FOREIGN_HOST,
    HIDDEN_POOLED_HOST,
    NO_COMPUTE,
    PASSWORD,
    POOLED_HOST,
    Contact,
    Endpoint,
    NeonService,
    Trial,
    connection_string,
    make_certificates,
    url,
    wait_until,
)
from lab.prepared import api_seconds
from lab.projects import Bakery
from lab.variants import Variant, in_turn

pytestmark = pytest.mark.usefixtures("docker_engine")

Result = TypeVar("Result")

# Both drivers and both pools; each driver and each pool has both ways to migrate.
VARIANTS = in_turn(
    Variant("neon", pool, driver, migrate_service)
    for pool, driver, migrate_service in (
        ("nullpool", "asyncpg", True),
        ("nullpool", "psycopg", False),
        ("queuepool", "asyncpg", False),
        ("queuepool", "psycopg", True),
    )
)
OLDEST_PGBOUNCER = (1, 24)
NEON_SETTINGS = {
    "pool_mode": "transaction",
    "max_client_conn": "10000",
    "max_prepared_statements": "1000",
    "query_wait_timeout": "120",
}
CERTIFICATE_ERROR = "certificate verify failed"
BINDING_ERROR = "channel binding is required, but server did not offer"
NAME_ERRORS = {"asyncpg": "Hostname mismatch", "psycopg": "does not match host name"}
POOLED_AS_DIRECT = (
    "DATABASE_URL_DIRECT names Neon's pooled endpoint (-pooler), which cannot run"
    " migrations. Switch off connection pooling"
)

ASYNCPG = [variant for variant in VARIANTS if variant.driver == "asyncpg"]
PSYCOPG = [variant for variant in VARIANTS if variant.driver == "psycopg"]

Services = Mapping[Variant, NeonService]
Report = dict[Variant, list[str]]

MIGRATE = ("sh", "scripts/migrate.sh")

IDLE_SECONDS = 300
CONTROL_PROBES = 5
CLOSED_SECONDS = 4
# Far below DB_CONNECT_TIMEOUT (15 s) and PgBouncer's query_wait_timeout (120 s).
FAST_SECONDS = 10
RECOVERY_SECONDS = 60
WATCH_SECONDS = 300

# From the outside to the inside.
ALL_SERVERS = ("front", "pooler", "compute")

emails = count(1)


def at_once(
    services: Services, work: Callable[[NeonService], Result]
) -> dict[Variant, Result]:
    """Do the same with every service at the same time."""
    with ThreadPoolExecutor(len(services)) as pool:
        return dict(zip(services, pool.map(work, services.values()), strict=True))


@pytest.fixture(scope="module")
def table(report: list[str]) -> Iterator[Report]:
    """Collect what was done with each variant, for the report."""
    table: Report = {}
    yield table
    for variant, lines in table.items():
        report += [str(variant), *(f"    {line}" for line in lines)]
    report.append(
        "Both URLs are as Neon's console prints them. A front before PgBouncer"
        " binds channels, as Neon's own proxy does."
    )


def say(table: Report, variant: Variant, line: str) -> None:
    """Add a line to the table."""
    table.setdefault(variant, []).append(line)


@pytest.fixture(scope="module")
def services(
    docker_engine: None,  # noqa: ARG001 (it comes first)
    bake: Bakery,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Services]:
    """Every service, started with the README's commands on an endpoint of its own."""
    folder = tmp_path_factory.mktemp("neon")
    certificates = folder / "certificates"
    certificates.mkdir()
    make_certificates(certificates)
    services = {
        variant: make_service(bake, variant, folder, certificates)
        for variant in VARIANTS
    }
    try:
        at_once(services, start)
        yield services
    finally:
        at_once(services, stop)


def make_service(
    bake: Bakery, variant: Variant, folder: Path, certificates: Path
) -> NeonService:
    """Bake a service of its own name, with an endpoint of its own."""
    slug = f"look-alike-{os.getpid()}-{variant.pool}-{variant.driver}"
    project = bake.fresh(variant, project_slug=slug)
    own_folder = folder / slug
    own_folder.mkdir()
    endpoint = Endpoint(f"{slug}-neon", certificates, variant.postgres_version)
    return NeonService(project, endpoint, own_folder)


def start(service: NeonService) -> None:
    """Start the endpoint, then the service."""
    service.endpoint.start()
    service.start()


def stop(service: NeonService) -> None:
    """Delete the service, then the endpoint."""
    service.stop()
    service.endpoint.stop()


@pytest.fixture(params=VARIANTS, ids=str)
def service(request: pytest.FixtureRequest, services: Services) -> NeonService:
    """Run the test for every service."""
    return services[request.param]


@dataclass(frozen=True)
class Answer:
    """The response to one request."""

    status: int
    seconds: float
    ended: float
    retry_after: str | None
    email: str | None = None


def ask(client: httpx2.Client, *, write: bool = False) -> Answer:
    """Create a user, or list users."""
    email = f"user{next(emails)}@example.com" if write else None
    began = time.monotonic()
    if write:
        response = client.post("/users", json={"name": "Ada", "email": email})
    else:
        response = client.get("/users")
    ended = time.monotonic()
    retry_after = response.headers.get("Retry-After")
    return Answer(response.status_code, ended - began, ended, retry_after, email)


def ask_together(service: NeonService, requests: int = 10) -> list[Answer]:
    """Send reads and writes at the same time."""
    with service.client() as client, ThreadPoolExecutor(requests) as pool:
        writes = [number % 2 == 0 for number in range(requests)]
        return list(pool.map(lambda write: ask(client, write=write), writes))


# The look-alike is what it says.


def test_pooler_has_neons_published_settings(services: Services) -> None:
    endpoint = services[VARIANTS[0]].endpoint
    admin = url(POOLED_HOST, sslmode="require").replace(f"/{DATABASE}?", "/pgbouncer?")

    version_code, version = endpoint.client(admin, "SHOW VERSION")
    code, output = endpoint.client(admin, "SHOW CONFIG")

    assert (version_code, code) == (0, 0), version + output
    number = re.search(r"(\d+)\.(\d+)", version)
    assert number
    assert (int(number[1]), int(number[2])) >= OLDEST_PGBOUNCER
    settings = dict(line.split("|")[:2] for line in output.splitlines())
    most = int(endpoint.query("SHOW max_connections"))
    assert {name: settings[name] for name in NEON_SETTINGS} == NEON_SETTINGS
    assert settings["default_pool_size"] == str(int(0.9 * most))
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["client_tls_sslmode"] == "require"
    assert settings["server_tls_sslmode"] == "verify-full"


def test_both_hosts_refuse_plain_text(services: Services) -> None:
    endpoint = services[VARIANTS[0]].endpoint

    for host in (DIRECT_HOST, POOLED_HOST):
        code, output = endpoint.client(url(host, sslmode="disable"), "SELECT 1")
        assert code != 0
        assert "SSL required" in output or "no encryption" in output


# The service runs.


def test_service_runs_with_only_the_two_urls(
    service: NeonService, table: Report
) -> None:
    compose_file = service.project.read("docker-compose.yml")
    with service.client() as client:
        body = {"name": "Ada", "email": "ada@example.com"}
        created = client.post("/users", json=body)
        assert created.status_code == 201, service.log()
        user = created.json()
        read = client.get(f"/users/{user['id']}")
        ready = client.get("/health/db")

    assert (read.status_code, read.json()) == (200, user)
    for given in (service.pooled_url, service.direct_url):
        assert given.endswith("?sslmode=require&channel_binding=require")
    assert ready.json() == {"status": "healthy", "database": "connected"}
    required = re.findall(r"\$\{(\w+):\?", compose_file)
    assert set(required) == {"NEON_POOLED_URL", "NEON_DIRECT_URL"}
    queries = [
        contact
        for contact in service.endpoint.contacts()
        if contact.application == service.slug
    ]
    assert any("INSERT INTO users" in contact.text for contact in queries)
    assert {contact.host for contact in queries} == {service.endpoint.pooler_address()}
    shown = service.pooled_url.replace(PASSWORD, "***")
    say(table, service.variant, f"runs on {shown}")


def test_migrations_reach_the_direct_host_alone(
    service: NeonService, table: Report
) -> None:
    found = migration_hosts(service, service.contacts_at_start)
    pooler = service.endpoint.pooler_address()
    text = "\n".join(contact.text for contact in service.contacts_at_start)

    assert "INSERT INTO alembic_version" in text
    assert found
    assert pooler not in found
    # Before its first request nothing of the service came to PgBouncer at all.
    assert {contact.host for contact in service.contacts_at_start} == found
    assert service.logins_at_start == 0
    say(
        table,
        service.variant,
        f"migrations: {len(service.contacts_at_start)} lines in the direct server's"
        " log, 0 clients at PgBouncer",
    )


def test_migrations_through_the_pooler_would_be_seen(service: NeonService) -> None:
    logins = service.endpoint.pooler_logins()
    hidden = connection_string(
        HIDDEN_POOLED_HOST, channel_binding=service.variant.driver == "asyncpg"
    )

    trial = service.run(("alembic", "upgrade", "head"), DATABASE_URL_DIRECT=hidden)

    assert trial.exit_code == 0, trial.output
    found = migration_hosts(service, service.endpoint.contacts())
    assert service.endpoint.pooler_address() in found
    assert service.endpoint.pooler_logins() > logins


def migration_hosts(service: NeonService, contacts: list[Contact]) -> set[str]:
    """Return the addresses that the service's migrations came from."""
    application = f"{service.slug}-migrations"
    return {contact.host for contact in contacts if contact.application == application}


# Certificates and channel binding.


@pytest.mark.parametrize("service", ASYNCPG, ids=str, indirect=True)
def test_asyncpg_refuses_the_console_string_of_an_unknown_authority(
    service: NeonService,
) -> None:
    console = connection_string(POOLED_HOST)

    refused = service.try_out(known_authority=False, DATABASE_URL=console)
    accepted = service.try_out(DATABASE_URL=console)
    migration = service.run(
        MIGRATE, known_authority=False, DATABASE_URL_DIRECT=service.direct_url
    )

    assert_refused(refused, CERTIFICATE_ERROR)
    assert_failed(migration, CERTIFICATE_ERROR)
    assert accepted.status == 200, accepted.output


def test_verify_full_refuses_an_unknown_authority(service: NeonService) -> None:
    strict = url(POOLED_HOST, sslmode="verify-full")

    refused = service.try_out(known_authority=False, DATABASE_URL=strict)
    accepted = service.try_out(DATABASE_URL=strict)

    assert_refused(refused, CERTIFICATE_ERROR)
    assert accepted.status == 200, accepted.output
    named = url(POOLED_HOST, sslmode="verify-full", sslrootcert=CA_IN_CONTAINER)
    assert service.try_out(DATABASE_URL=named).status == 200


def test_verify_full_refuses_a_name_that_the_certificate_lacks(
    service: NeonService,
) -> None:
    trial = service.try_out(DATABASE_URL=url(FOREIGN_HOST, sslmode="verify-full"))

    assert_refused(trial, NAME_ERRORS[service.variant.driver])


def test_sslmode_require_alone_takes_any_certificate(service: NeonService) -> None:
    loose = connection_string(POOLED_HOST, channel_binding=False)

    trial = service.try_out(known_authority=False, DATABASE_URL=loose)

    assert trial.status == 200, trial.output


@pytest.mark.parametrize("service", PSYCOPG, ids=str, indirect=True)
def test_psycopg_refuses_a_server_that_cannot_bind(service: NeonService) -> None:
    unbound = connection_string(HIDDEN_POOLED_HOST, channel_binding=False)

    hidden = connection_string(HIDDEN_POOLED_HOST)

    refused = service.try_out(DATABASE_URL=hidden)
    migration = service.run(MIGRATE, DATABASE_URL_DIRECT=hidden)

    assert_refused(refused, BINDING_ERROR)
    assert_failed(migration, BINDING_ERROR)
    assert service.try_out(DATABASE_URL=unbound).status == 200
    for host in (POOLED_HOST, DIRECT_HOST):
        assert service.try_out(DATABASE_URL=connection_string(host)).status == 200


def assert_refused(trial: Trial, reason: str) -> None:
    """The service answered 503 and its log, not the response, says why."""
    assert trial.status == 503, trial.output
    assert reason in trial.output
    assert PASSWORD not in trial.output


def assert_failed(trial: Trial, reason: str) -> None:
    """The command failed, and says why."""
    assert trial.exit_code != 0
    assert reason in trial.output
    assert PASSWORD not in trial.output


# The pooled host as the direct one.


@pytest.mark.parametrize("command", [(), MIGRATE], ids=["api", "alembic"])
def test_pooled_host_as_the_direct_url_is_refused(
    service: NeonService, command: tuple[str, ...]
) -> None:
    contacts, logins = service.endpoint.contacts(), service.endpoint.pooler_logins()

    trial = service.run(command, DATABASE_URL_DIRECT=service.pooled_url)

    assert_failed(trial, POOLED_AS_DIRECT)
    assert "Traceback" not in trial.output
    assert service.endpoint.contacts() == contacts
    assert service.endpoint.pooler_logins() == logins


# A compute that does not start.


@dataclass(frozen=True)
class Reply:
    """The answer to one operation of the API."""

    operation: str
    status: int
    retry_after: str | None


def reply(client: httpx2.Client, method: str, path: str) -> Reply:
    """Ask for an operation; each has a user's data as its body, wanted or not.

    uvicorn closes the connection after a 500, and the next request shall not find that.
    """
    body = {"name": "Ada", "email": f"user{next(emails)}@example.com"}
    response = client.request(
        method.upper(),
        path.format(user_id=1),
        json=body,
        headers={"Connection": "close"},
    )
    retry_after = response.headers.get("Retry-After")
    return Reply(f"{method} {path}", response.status_code, retry_after)


def test_an_error_of_neons_own_is_503(service: NeonService, table: Report) -> None:
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
        del paths["/health/live"]
        operations = [(method, path) for path in paths for method in paths[path]]
        assert client.get("/users").status_code == 200

        with service.endpoint.no_compute_starts():
            replies = [reply(client, *operation) for operation in operations]

        assert client.get("/users").status_code == 200
    assert len(replies) > 5
    assert {found.status for found in replies} == {503}, replies
    assert {found.retry_after for found in replies} == {"5"}, replies
    assert NO_COMPUTE in service.log()
    line = f"no compute starts (XX000): {told(Counter(r.status for r in replies))}"
    say(table, service.variant, line)


# A compute that suspends.


@dataclass(frozen=True)
class Suspension:
    """The answers while an endpoint was suspended, next after it, and later."""

    during: list[Answer]
    next: list[Answer]
    later: list[Answer]
    woken: float
    seconds_to_recover: float

    @property
    def answers(self) -> list[Answer]:
        """Every answer."""
        return self.during + self.next + self.later


def suspend(service: NeonService, *servers: str, clients: int) -> Suspension:
    """Close the ports of `servers` for some seconds, while clients go on asking."""
    ask_together(service)
    service.endpoint.suspend(*servers)
    end = time.monotonic() + CLOSED_SECONDS
    with ThreadPoolExecutor(max(clients, 1)) as pool:
        asking = [pool.submit(ask_until, service, end) for _ in range(clients)]
        time.sleep(CLOSED_SECONDS)
        woken = time.monotonic()
        service.endpoint.resume(*reversed(servers))
    answers = [answer for future in asking for answer in future.result()]
    after = ask_together(service)
    while after[-1].status != 200:
        assert time.monotonic() - woken < RECOVERY_SECONDS, service.log()
        time.sleep(0.1)
        with service.client() as client:
            after.append(ask(client))
    recovered = after[-1].ended - woken
    return Suspension(answers, after, ask_together(service), woken, recovered)


def ask_until(service: NeonService, end: float) -> list[Answer]:
    """Create and list users, one after the other, until a point in time."""
    answers: list[Answer] = []
    with service.client() as client:
        while time.monotonic() < end:
            answers.append(ask(client, write=len(answers) % 2 == 0))
            time.sleep(0.05)
    return answers


@dataclass(frozen=True)
class Suspensions:
    """One suspension of each kind, and what the container's state says after them."""

    idle: Suspension
    busy: Suspension
    compute_alone: Suspension
    restarted: bool

    @property
    def answers(self) -> list[Answer]:
        """Every answer of every suspension."""
        return self.idle.answers + self.busy.answers + self.compute_alone.answers


def suspend_in_every_way(service: NeonService) -> Suspensions:
    """Suspend without and with requests; then Postgres alone, the others staying."""
    state = "{{.State.StartedAt}} {{.RestartCount}}"
    before = service.inspect(state)
    idle = suspend(service, *ALL_SERVERS, clients=0)
    busy = suspend(service, *ALL_SERVERS, clients=2)
    compute_alone = suspend(service, "compute", clients=2)
    restarted = service.inspect(state) != before or not service.is_healthy()
    return Suspensions(idle, busy, compute_alone, restarted)


@pytest.fixture(scope="module")
def suspensions(services: Services, table: Report) -> dict[Variant, Suspensions]:
    """Suspend every endpoint, all at once."""
    suspensions = at_once(services, suspend_in_every_way)
    for variant, found in suspensions.items():
        for name in ("idle", "busy", "compute_alone"):
            suspension: Suspension = getattr(found, name)
            statuses = Counter(answer.status for answer in suspension.answers)
            slowest = max(answer.seconds for answer in suspension.answers)
            say(
                table,
                variant,
                f"suspended, {name.replace('_', ' ')}: {told(statuses)},"
                f" slowest {slowest:.2f} s,"
                f" recovered in {suspension.seconds_to_recover:.1f} s",
            )
    return suspensions


def test_requests_after_an_idle_suspension_succeed(
    service: NeonService, suspensions: dict[Variant, Suspensions]
) -> None:
    statuses = [answer.status for answer in suspensions[service.variant].idle.next]

    assert set(statuses) <= {200, 201}, statuses


def test_requests_to_a_closed_port_fail_fast_with_503(
    service: NeonService, suspensions: dict[Variant, Suspensions]
) -> None:
    busy = suspensions[service.variant].busy
    asleep = [answer for answer in busy.during if answer.ended < busy.woken]

    assert len(asleep) >= 10
    assert {answer.status for answer in asleep} == {503}
    assert {answer.retry_after for answer in asleep} == {"5"}
    assert max(answer.seconds for answer in asleep) < FAST_SECONDS


def test_every_answer_around_a_suspension_is_a_success_or_503(
    service: NeonService, suspensions: dict[Variant, Suspensions]
) -> None:
    answers = suspensions[service.variant].answers

    assert {answer.status for answer in answers} <= {200, 201, 503}
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.retry_after for answer in refused} == {"5"}
    assert max(answer.seconds for answer in refused) < FAST_SECONDS


def test_service_recovers_by_itself(
    service: NeonService, suspensions: dict[Variant, Suspensions]
) -> None:
    found = suspensions[service.variant]

    assert not found.restarted
    for suspension in (found.idle, found.busy, found.compute_alone):
        assert {answer.status for answer in suspension.later} == {200, 201}


def test_acknowledged_writes_outlive_the_suspensions(
    service: NeonService, suspensions: dict[Variant, Suspensions], table: Report
) -> None:
    stored = Counter(service.endpoint.query("SELECT email FROM users").split())
    acknowledged = [
        answer.email
        for answer in suspensions[service.variant].answers
        if answer.status == 201 and answer.email
    ]

    assert acknowledged
    assert [stored[email] for email in acknowledged] == [1] * len(acknowledged)
    line = f"writes: {len(acknowledged)} acknowledged, each found once"
    say(table, service.variant, line)


# Secrets.


@pytest.mark.usefixtures("suspensions")
def test_no_log_holds_the_password(service: NeonService) -> None:
    assert "database unavailable" in service.log()
    assert PASSWORD not in service.log()


# Health checks.


@dataclass(frozen=True)
class Watch:
    """What the servers saw during some health checks of the container."""

    probes: int
    contacts: list[Contact]
    pooler_logins: int
    activity_before: str
    activity_after: str


def watch(service: NeonService, container: str, probes: int) -> Watch:
    """Send nothing until the container's health has been checked so often."""

    def probed() -> int:
        log = docker("logs", container)
        return (log.stdout + log.stderr).count('"GET /health/')

    first, contacts = probed(), len(service.endpoint.contacts())
    logins, activity = service.endpoint.pooler_logins(), service.endpoint.activity()
    wait_until(lambda: probed() >= first + probes, WATCH_SECONDS, f"{probes} probes")
    return Watch(
        probed() - first,
        service.endpoint.contacts()[contacts:],
        service.endpoint.pooler_logins() - logins,
        activity,
        service.endpoint.activity(),
    )


def probes_while_idle(service: NeonService) -> int:
    """Return how many health checks the Compose file makes in five minutes."""
    return IDLE_SECONDS // api_seconds(service.project, "healthcheck", "interval")


def watch_idle_service(service: NeonService) -> Watch:
    """Watch the service after some requests, so that a pool holds connections."""
    probes = probes_while_idle(service)
    service.start_with_fast_health_checks()
    ask_together(service)
    wait_until(service.endpoint.is_quiet, WATCH_SECONDS, "the requests' connections")
    return watch(service, service.container, probes)


@pytest.fixture(scope="module")
def idle_watches(services: Services, table: Report) -> dict[Variant, Watch]:
    """Watch every service while nobody uses it, all at once."""
    watches = at_once(services, watch_idle_service)
    for variant, found in watches.items():
        say(
            table,
            variant,
            f"idle: {found.probes} health checks, {len(found.contacts)} lines in the"
            f" server's log, {found.pooler_logins} clients at PgBouncer",
        )
    return watches


def test_health_checks_of_five_minutes_leave_the_server_alone(
    service: NeonService, idle_watches: dict[Variant, Watch]
) -> None:
    found = idle_watches[service.variant]

    assert found.probes >= probes_while_idle(service) > CONTROL_PROBES
    assert found.contacts == []
    assert found.pooler_logins == 0
    assert found.activity_after == found.activity_before


def watch_second_api(service: NeonService) -> Watch:
    """Watch an API whose health check asks for the database."""
    with service.second_api("/health/db") as container:
        return watch(service, container, CONTROL_PROBES)


@pytest.fixture(scope="module")
def control_watches(
    services: Services,
    idle_watches: dict[Variant, Watch],  # noqa: ARG001 (they come first)
    table: Report,
) -> dict[Variant, Watch]:
    """Watch an API of every service whose health check is wrong, all at once."""
    watches = at_once(services, watch_second_api)
    for variant, found in watches.items():
        say(
            table,
            variant,
            f"control, /health/db: {found.probes} health checks,"
            f" {len(found.contacts)} lines in the server's log",
        )
    return watches


def test_health_checks_of_the_database_would_be_seen(
    service: NeonService, control_watches: dict[Variant, Watch]
) -> None:
    found = control_watches[service.variant]
    queries = [contact for contact in found.contacts if "SELECT 1" in contact.text]

    # The first probe may have asked the server before the watch began.
    assert len(queries) >= CONTROL_PROBES - 1
    assert found.activity_after != found.activity_before
