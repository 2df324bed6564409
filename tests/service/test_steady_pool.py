"""A busy service keeps the connections that it has opened, and a calm one few."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from urllib.parse import urlsplit

import httpx2
import pytest

from lab.copies import replace_once
from lab.flights import FlightCounter, flight_counter
from lab.pgbouncers import moved
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database
from lab.services import ServiceEnvironment, running_service
from lab.variants import CHOICES

pytestmark = pytest.mark.everything

POOL_SIZE = 5
CLIENTS = 12  # More than the pool's size, and fewer than it has connections.
REQUESTS = 20  # For each client.
NETWORK_SECONDS = 0.005  # For one round trip, so that requests overlap.


@dataclass(frozen=True)
class Service:
    """A running service, its database, and the counter before it."""

    url: str
    database: Database
    counter: FlightCounter

    def read_at_once(self) -> int:
        """Let all clients read; return how many connections were opened for them."""
        self.counter.take()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(self.read, [REQUESTS] * CLIENTS))
        return self.counter.take()[1]

    def read(self, requests: int) -> None:
        """Read, one request after another."""
        with httpx2.Client(base_url=self.url) as client:
            for _ in range(requests):
                client.get("/users").raise_for_status()


@contextmanager
def serving(
    project: Path, environment: ServiceEnvironment, database: Database, log: Path
) -> Iterator[Service]:
    """Serve a project at a distance from its database."""
    server = urlsplit(database.url)
    with flight_counter(
        server.hostname or "", server.port or 5432, NETWORK_SECONDS
    ) as counter:
        url = moved(database.url, counter.port)
        with running_service(environment, project, log, DATABASE_URL=url) as service:
            yield Service(service.url, database, counter)


Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture(params=CHOICES["driver"])
def serve(
    request: pytest.FixtureRequest,
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    migrated: Callable[[], Database],
    tmp_path: Path,
) -> Serve:
    """Serve the variant with a pool and each driver, with changes to its files."""
    driver: str = request.param

    def start(*changes: tuple[str, str, str]) -> AbstractContextManager[Service]:
        project = bake.fresh(chosen("postgres", "queuepool", driver)).path
        for file, old, new in changes:
            replace_once(project / file, old, new)
        return serving(project, environments(driver), migrated(), tmp_path / "log")

    return start


def test_busy_service_keeps_its_connections(serve: Serve) -> None:
    with serve() as service:
        assert POOL_SIZE < service.read_at_once() <= CLIENTS


def test_calm_service_keeps_few_connections(serve: Serve) -> None:
    impatient = ("app/core/pool.py", "KEEP_OVERFLOW = 10", "KEEP_OVERFLOW = 1")
    with serve(impatient) as service:
        service.read_at_once()
        assert service.database.connections() > POOL_SIZE

        sleep(1)
        service.read(CLIENTS)
        assert service.database.connections() == POOL_SIZE


def test_pool_of_sqlalchemy_opens_connections_again(serve: Serve) -> None:
    """A negative control: the same clients, and more connections than clients."""
    stock = ("app/core/database.py", "    poolclass=FairQueuePool,\n", "")
    with serve(stock) as service:
        assert service.read_at_once() > CLIENTS
