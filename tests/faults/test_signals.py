"""A service that is told to stop, or killed, under load.

Every database, pool and driver: what is open as the service ends depends on all three.
"""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from lab.clients import OTHERS, load
from lab.prepared import api_seconds
from lab.projects import Bakery
from lab.servers import OLDEST, Database
from lab.services import RunningService
from lab.symptoms import LOCK_WAITERS, tables_locked
from lab.variants import Variant
from lab.waiting import wait_until
from tests.faults.sites import (
    OVERHEAD,
    UNHANDLED,
    VARIANTS,
    Environments,
    Servers,
    clients_left,
    clients_left_in_transaction,
    create,
    held_requests,
    held_users,
    line,
    one_site,
)


@pytest.fixture(scope="module")
def server_version() -> int:
    """Run here what the other files run on the newest server."""
    return OLDEST


def refuses_connections(service: RunningService) -> bool:
    """Whether nothing listens any more on the service's port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", urlsplit(service.url).port or 0)) != 0


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
                wait_until(
                    lambda: lock_waiters(site.database) == everybody, "waiting requests"
                )
                asked = time.monotonic()
                service.process.send_signal(signal.SIGTERM)
                wait_until(lambda: refuses_connections(service), "a closed port")
                time.sleep(1)  # Whoever drops requests has done so by then.
            answers = [request.result() for request in begun]
            code = service.process.wait(grace)
            took = time.monotonic() - asked
        record = clients.record
        assert code in (0, -signal.SIGTERM)
        assert took < grace
        wait_until(lambda: clients_left(servers, site) == 0, "no client", OVERHEAD)
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
        wait_until(lambda: clients_left(servers, site) == 0, "no client")
        wait_until(lambda: clients_left_in_transaction(site) == 0, "no transaction")
    record = clients.record
    assert all(isinstance(error, httpx2.TransportError) for error in errors), errors
    assert held_users(site.database) == 0
    assert {answer.status for answer in record.unexpected()} == {None}
    assert not record.contradictions
    assert not record.compare(site.database)
    text = f"{record.summary(site.database)}, {len(errors)} in the middle of a write"
    report.append(line("SIGKILL", variant, text))
