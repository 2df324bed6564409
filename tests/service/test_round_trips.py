"""A request costs no more round trips to the database than it must.

The figures are exact: a proxy counts them on the wire. Every database, pool and driver;
whether a Compose service migrates is in no file that runs here.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from lab.drivers import WITH_DRIVER
from lab.flights import FlightCounter, flight_counter
from lab.pairs import one_of_each
from lab.projects import Bakery
from lab.servers import Database
from lab.services import ServiceEnvironment, running_service
from lab.variants import VARIANTS, Variant

WARM_UP = 8  # psycopg prepares a statement when it runs it for the sixth time.
REQUESTS = 5


@dataclass(frozen=True)
class Measured:
    """A service behind a counter, and what the bare driver's connection costs."""

    variant: Variant
    client: httpx2.Client
    counter: FlightCounter
    set_up: int

    def flights(self, request: Callable[[int], httpx2.Response]) -> set[int]:
        """Return the numbers of flights that several warm requests took."""
        for number in range(WARM_UP):
            request(number).raise_for_status()
        self.counter.take()
        counted = set()
        for number in range(WARM_UP, WARM_UP + REQUESTS):
            request(number).raise_for_status()
            counted.add(self.counter.take()[0])
        return counted


@contextmanager
def measuring(
    variant: Variant,
    project: Path,
    environment: ServiceEnvironment,
    database: Database,
    log: Path,
    **settings: str,
) -> Iterator[Measured]:
    """Serve a project, with a counter between it and the server."""
    server = urlsplit(database.url)
    with flight_counter(server.hostname or "", server.port or 5432) as counter:
        url = database.url.replace(f":{server.port}/", f":{counter.port}/")
        environment.run_script(WITH_DRIVER[variant.driver].opens_a_connection, url)
        set_up = counter.take()[0]
        with (
            running_service(
                environment, project, log, DATABASE_URL=url, **settings
            ) as service,
            httpx2.Client(base_url=service.url) as client,
        ):
            yield Measured(variant, client, counter, set_up)


@pytest.fixture(
    scope="module",
    params=one_of_each("database", "pool", "driver"),
    ids=str,
)
def measured(
    request: pytest.FixtureRequest,
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    migrated: Callable[[], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Measured]:
    """Serve a variant as it is rendered."""
    variant: Variant = request.param
    with measuring(
        variant,
        bake(variant).path,
        environments(variant.driver),
        migrated(),
        tmp_path_factory.mktemp("round-trips") / "log",
    ) as found:
        yield found


Measure = Callable[..., AbstractContextManager[Measured]]


@pytest.fixture
def measure(
    environments: Callable[[str], ServiceEnvironment],
    migrated: Callable[[], Database],
    tmp_path: Path,
) -> Measure:
    """Serve a project of a variant with other settings."""

    def start(
        variant: Variant, project: Path, **settings: str
    ) -> AbstractContextManager[Measured]:
        environment = environments(variant.driver)
        log = tmp_path / "log"
        return measuring(variant, project, environment, migrated(), log, **settings)

    return start


def expected(measured: Measured, statements: int) -> int:
    """Return the flights of `statements` statements in the measured variant.

    Without a statement cache, asyncpg asks for a statement's types first, which
    costs one more for the query. BEGIN and COMMIT have no types.
    """
    variant = measured.variant
    set_up = measured.set_up if variant.pool == "nullpool" else 0
    if variant.pooled_endpoint or variant.pool == "nullpool":
        statements += WITH_DRIVER[variant.driver].unprepared - 1
    return set_up + statements


@pytest.mark.pairwise
def test_read(measured: Measured) -> None:
    user = measured.client.post("/users", json={"name": "Ada", "email": "ada@x.org"})
    path = f"/users/{user.json()['id']}"

    flights = measured.flights(lambda _: measured.client.get(path))

    assert flights == {expected(measured, 1)}


@pytest.mark.pairwise
def test_list(measured: Measured) -> None:
    flights = measured.flights(lambda _: measured.client.get("/users"))

    assert flights == {expected(measured, 1)}


@pytest.mark.pairwise
def test_write(measured: Measured) -> None:
    def create(number: int) -> httpx2.Response:
        user = {"name": "Bob", "email": f"bob-{number}@x.org"}
        return measured.client.post("/users", json=user)

    assert measured.flights(create) == {expected(measured, 3)}


@pytest.mark.everything
@pytest.mark.parametrize("driver", WITH_DRIVER)
@pytest.mark.parametrize("ping_after_idle", [0, 30])
def test_ping_before_use(
    bake: Bakery, measure: Measure, driver: str, ping_after_idle: int
) -> None:
    """With 0 every connection is tried before it is used, as with pool_pre_ping."""
    variant = direct_pool(driver)
    settings = {"DB_PING_AFTER_IDLE": str(ping_after_idle)}
    with measure(variant, bake(variant).path, **settings) as measured:
        flights = measured.flights(lambda _: measured.client.get("/users"))

    assert flights == {1 if ping_after_idle else 1 + WITH_DRIVER[driver].ping}


def test_counter_counts_the_transaction_of_a_read(
    bake: Bakery, measure: Measure
) -> None:
    """A negative control: reads in a transaction cost two round trips more."""
    variant = direct_pool("asyncpg")
    project = bake.fresh(variant).path
    users = project / "app" / "routers" / "users.py"
    users.write_text(users.read_text().replace("ReadSessionDep", "SessionDep"))
    with measure(variant, project) as measured:
        flights = measured.flights(lambda _: measured.client.get("/users"))

    assert flights == {3}


def direct_pool(driver: str) -> Variant:
    """Return the variant with a pool on a direct connection."""
    name = f"postgres-queuepool-{driver}-migrate"
    return next(variant for variant in VARIANTS if variant.id == name)
