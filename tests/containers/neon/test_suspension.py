"""A compute that suspends, does not start, or is left in peace.

Both pools with both drivers: each pool holds connections in its own way, and each
driver says in its own way that one has ended.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest

from lab.clients import told
from lab.containers import docker
from lab.neon.look_alike import NO_COMPUTE, PASSWORD, Contact, NeonService
from lab.prepared import api_seconds
from lab.variants import Variant
from lab.waiting import wait_until
from tests.containers.neon.endpoints import (
    ALL_VARIANTS,
    Answer,
    Report,
    Services,
    ask,
    ask_together,
    at_once,
    emails,
    say,
)

VARIANTS = ALL_VARIANTS
IDLE_SECONDS = 300
CONTROL_PROBES = 5
CLOSED_SECONDS = 4
# Far below DB_CONNECT_TIMEOUT (15 s) and PgBouncer's query_wait_timeout (120 s).
FAST_SECONDS = 10
RECOVERY_SECONDS = 60
WATCH_SECONDS = 300

# From the outside to the inside.
ALL_SERVERS = ("front", "pooler", "compute")


@pytest.fixture(params=VARIANTS, ids=str)
def service(request: pytest.FixtureRequest, services: Services) -> NeonService:
    """Run the test for every service."""
    return services[request.param]


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
        path.format(user_id=1, team_id=1),
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
    statuses = {answer.status for answer in answers}

    assert statuses <= {200, 201, 503}, service.tracebacks()
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
    wait_until(lambda: probed() >= first + probes, f"{probes} probes", WATCH_SECONDS)
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
    wait_until(service.endpoint.is_quiet, "the requests' end", WATCH_SECONDS)
    return watch(service, service.container, probes)


def watch_all(
    services: Services, work: Callable[[NeonService], Watch], what: str, table: Report
) -> dict[Variant, Watch]:
    """Watch all services at once, and report what was seen."""
    watches = at_once(services, work)
    for variant, found in watches.items():
        say(
            table,
            variant,
            f"{what}: {found.probes} health checks, {len(found.contacts)} lines in the"
            f" server's log, {found.pooler_logins} clients at PgBouncer",
        )
    return watches


@pytest.fixture(scope="module")
def idle_watches(services: Services, table: Report) -> dict[Variant, Watch]:
    """Watch every service while nobody uses it, all at once."""
    return watch_all(services, watch_idle_service, "idle", table)


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
    return watch_all(services, watch_second_api, "control, /health/db", table)


def test_health_checks_of_the_database_would_be_seen(
    service: NeonService, control_watches: dict[Variant, Watch]
) -> None:
    found = control_watches[service.variant]
    queries = [contact for contact in found.contacts if "to_regclass" in contact.text]

    # The first may have asked before the watch began, and a slow one shares its answer.
    assert len(queries) > CONTROL_PROBES / 2
    assert found.activity_after != found.activity_before
