"""The rule for round trips gives what is counted on the wire.

The database (direct or behind a pooler), the pool and the driver vary. PgBouncer's
variants have Neon's engine. The migrate service and the versions do not matter.
"""

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from comparison.answers import complete
from comparison.round_trips import CONNECT, MOST_TLS, round_trips, with_tls
from lab.copies import working_copy
from lab.drivers import WITH_DRIVER
from lab.flights import flight_counter
from lab.fronts import newest_tls, older_tls, other_curve, tls_front
from lab.projects import Bakery
from lab.servers import Server
from lab.services import ServiceEnvironment, running_service
from lab.variants import CHOICES, VARIANTS, Variant

WIRED = [
    variant
    for variant in VARIANTS
    if variant.migrate_service and variant.database != "pgbouncer"
]


@pytest.mark.everything
@pytest.mark.parametrize("variant", WIRED, ids=str)
def test_round_trips_are_those_on_the_wire(
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    postgres: Server,
    variant: Variant,
    tmp_path: Path,
) -> None:
    """The server has no TLS. That reads are in autocommit shows here, too."""
    project = working_copy(bake(variant), tmp_path)
    environment = environments(variant.driver)
    found = flights_of(project, environment, postgres, tmp_path / "log")
    cost = round_trips(complete(variant.answers))
    assert found == ({cost.read}, {cost.write})


@pytest.mark.parametrize("variant", VARIANTS[::2], ids=str)
def test_pooler_costs_what_neon_does(variant: Variant) -> None:
    """So the variants above stand for all."""
    same = {"database": "neon"} if variant.pooled_endpoint else {}
    answers = {**variant.answers, "migrate_service": True, **same}
    assert round_trips(complete(variant.answers)) == round_trips(complete(answers))


def flights_of(
    project: Path,
    environment: ServiceEnvironment,
    postgres: Server,
    log: Path,
) -> tuple[set[int], set[int]]:
    """Return the flights of requests that read, and of those that write."""
    database = postgres.create_database()
    environment.run(
        project,
        *("alembic", "upgrade", "head"),
        DATABASE_URL=database.url,
        DATABASE_URL_DIRECT=database.url,
    )
    address = urlsplit(database.url)
    assert address.hostname is not None
    assert address.port is not None
    with flight_counter(address.hostname, address.port) as counter:
        through = database.url.replace(str(address.port), str(counter.port))
        with (
            running_service(environment, project, log, DATABASE_URL=through) as service,
            httpx2.Client(base_url=service.url) as client,
        ):
            reads, writes = requests(client, counter.take)
    return set(reads), set(writes)


def requests(
    client: httpx2.Client, take: Callable[[], tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Return the flights of some requests that read, and of some that write.

    The first ones are not counted: they fill the pool, and psycopg prepares a
    statement when it runs for the 6th time.
    """
    reads, writes = [], []
    for number in range(9):
        person = {"name": "Ada", "email": f"ada{number}@example.com"}
        assert client.post("/users", json=person).status_code == httpx2.codes.CREATED
        writes.append(settled(take))
        assert client.get("/users/1").status_code == httpx2.codes.OK
        reads.append(settled(take))
    return reads[7:], writes[7:]


def settled(take: Callable[[], tuple[int, int]]) -> int:
    """Return the flights since the last call, once there come no more."""
    flights = 0
    while True:
        time.sleep(0.05)
        more, _ = take()
        if not more:
            return flights
        flights += more


@pytest.mark.everything
@pytest.mark.parametrize("driver", CHOICES["driver"])
def test_connections_cost_what_is_counted_with_tls(
    environments: Callable[[str], ServiceEnvironment], postgres: Server, driver: str
) -> None:
    """The closing message is not counted, which TLS hides: none is sent."""
    server = urlsplit(postgres.url)
    host, port = server.hostname or "", server.port or 5432

    def flights(host: str, port: int, mode: str) -> int:
        with flight_counter(host, port) as counter:
            user = server.netloc.rpartition("@")[0]
            url = f"postgresql://{user}@127.0.0.1:{counter.port}{server.path}"
            script = WITH_DRIVER[driver].opens_a_connection
            environments(driver).run_script(script, f"{url}?sslmode={mode}")
            return counter.take()[0]

    def flights_with_tls(context: ssl.SSLContext) -> int:
        with tls_front(host, port, context) as front:
            return flights("127.0.0.1", front.port, "require")

    plain = flights(host, port, "prefer")
    newest = flights_with_tls(newest_tls())
    others = {flights_with_tls(other_curve()), flights_with_tls(older_tls())}
    assert plain == CONNECT["nullpool"]
    assert others == {plain + MOST_TLS}
    text = f"{plain}, with TLS {newest} or {others.pop()}"
    assert with_tls(plain, connect=plain) == text
