"""Round trips to the database for each request, and what the distance makes of them.

A proxy between service and server counts the flights, which is exact, and then delays
each of them, as a network does. One client sends one request after another.
"""

import argparse
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from statistics import median
from time import perf_counter, sleep
from urllib.parse import urlsplit

from benchmarks.document import publish, table
from benchmarks.picture import Line, draw
from benchmarks.subjects import MEASURED, Laboratory, Subject, laboratory
from lab.drivers import WITH_DRIVER
from lab.flights import FlightCounter, flight_counter
from lab.neon.look_alike import make_certificates
from lab.pgbouncers import moved
from lab.services import RunningService
from lab.symptoms import tls_server

DISTANCES = [0, 1, 5, 20]  # Milliseconds of a round trip.
WARM_UP = 8  # psycopg prepares a statement when it runs it for the sixth time.
COUNTED = 5
TIMED = 25
REST_SECONDS = 0.05  # What is sent after a response, as a pasted COMMIT, counts too.
OPERATIONS = ["read", "write"]
PATTERNS = ["queuepool", "nullpool", "neon"]

P256_FIRST = """
openssl_conf = settings
[settings]
ssl_conf = tls
[tls]
system_default = defaults
[defaults]
Groups = P-256
"""

_users = count(1)


class Client:
    """A client that keeps its connection, and sends one request after another."""

    def __init__(self, service: RunningService) -> None:
        """Connect to `service`."""
        address = urlsplit(service.url)
        self.connection = http.client.HTTPConnection(address.netloc)

    def read(self) -> None:
        """Read a user."""
        self._send("GET", "/users/1", None, 200)

    def write(self) -> None:
        """Create a user."""
        user = {"name": "Bob", "email": f"bob{next(_users)}@example.com"}
        self._send("POST", "/users", json.dumps(user), 201)

    def _send(self, method: str, path: str, body: str | None, status: int) -> None:
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status != status:
            message = f"{method} {path}: {response.status} {text}"
            raise RuntimeError(message)


def count_flights(counter: FlightCounter, send: Callable[[], None]) -> int:
    """Return the flights of a warm request; raises RuntimeError if they vary."""
    for _ in range(WARM_UP):
        send()
    sleep(REST_SECONDS)
    counter.take()
    found = set()
    for _ in range(COUNTED):
        send()
        sleep(REST_SECONDS)
        found.add(counter.take()[0])
    if len(found) > 1:
        message = f"the same request took {sorted(found)} flights"
        raise RuntimeError(message)
    return found.pop()


def time_requests(
    counter: FlightCounter, send: Callable[[], None], distance: int
) -> float:
    """Return the median time of a request in ms, at a distance in ms."""
    counter.delay = distance / 1000
    try:
        times = []
        for _ in range(TIMED):
            start = perf_counter()
            send()
            times.append(perf_counter() - start)
    finally:
        counter.delay = 0
    return 1000 * median(times)


def measure(lab: Laboratory, subject: Subject) -> Line:
    """Count the flights of a service's requests, then time them at each distance."""
    database = lab.database()
    server = urlsplit(database.url)
    with (
        flight_counter(server.hostname or "", server.port or 5432) as counter,
        subject.running(lab.folder, moved(database.url, counter.port)) as service,
    ):
        client = Client(service)
        requests = {name: getattr(client, name) for name in OPERATIONS}
        return Line(
            subject.name,
            {name: count_flights(counter, send) for name, send in requests.items()},
            {
                name: [time_requests(counter, send, far) for far in DISTANCES]
                for name, send in requests.items()
            },
        )


def set_up_flights(
    lab: Laboratory, driver: str, url: str, variables: Mapping[str, str]
) -> int:
    """Return the flights in which the bare driver opens a connection.

    They are counted at a distance. On a near network the server's session tickets
    arrive between two messages of the client, which did not wait for them.
    """
    with flight_counter("127.0.0.1", urlsplit(url).port or 5432, 0.02) as counter:
        lab.environment(driver).run_script(
            WITH_DRIVER[driver].opens_a_connection,
            moved(url, counter.port),
            **variables,
        )
        return counter.take()[0]


def set_up_table(lab: Laboratory) -> str:
    """Return a table of what it costs to open a connection, without TLS and with it.

    Up to version 17 PostgreSQL takes the curve P-256 alone, which is not the one that
    OpenSSL tries first, so the client says hello twice:
    https://www.postgresql.org/docs/17/runtime-config-connection.html#GUC-SSL-ECDH-CURVE
    """
    folder = lab.folder / "tls"
    folder.mkdir()
    make_certificates(folder)
    settings = lab.folder / "openssl.cnf"
    settings.write_text(P256_FIRST)
    with tls_server(folder) as port:
        tls = f"postgresql://app:s3cret@127.0.0.1:{port}/app?sslmode=require"
        ways: dict[str, tuple[str, dict[str, str]]] = {
            "without TLS": (lab.server.url, {}),
            "with TLS, PostgreSQL 17": (tls, {}),
            "with TLS, same curve": (tls, {"OPENSSL_CONF": str(settings)}),
        }
        rows = [
            (driver, *(set_up_flights(lab, driver, *way) for way in ways.values()))
            for driver in WITH_DRIVER
        ]
    return table(["To open a connection, round trips", *ways], rows)


def rows(found: list[Line]) -> Iterator[tuple[object, ...]]:
    """Write what was measured as rows of a table."""
    for each in found:
        yield (
            each.name,
            *each.flights.values(),
            *(f"{ms:.1f}" for times in each.latency.values() for ms in times),
        )


def main() -> None:
    """Measure, print, and write the tables and the picture."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with laboratory() as lab:
        subjects = [
            *(lab.variant(variant) for variant in MEASURED),
            *(lab.patterns(pool) for pool in PATTERNS),
        ]
        found = [measure(lab, subject) for subject in subjects]
        set_up = set_up_table(lab)
    header = [
        "Service",
        *(f"{name}, round trips" for name in OPERATIONS),
        *(f"{name}, {far} ms" for name in OPERATIONS for far in DISTANCES),
    ]
    draw(DISTANCES, found)
    publish("round_trips", table(header, rows(found)), set_up)


if __name__ == "__main__":
    main()
