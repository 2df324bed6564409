"""What each pool does to the server's connections when 500 clients come at once.

The server takes 100 connections, PostgreSQL's default. PgBouncer holds 20 of them and
takes 1000 clients; it runs only while it is measured. Each service has one worker.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.document import publish, table
from benchmarks.load import Load, load, require_wrk
from benchmarks.subjects import MEASURED, Laboratory, Subject, laboratory
from lab.pgbouncers import pgbouncer
from lab.prepared import watched
from lab.servers import Database

MAX_CONNECTIONS = 100
SERVER_POOL = 20
HEADER = [
    *("Service", "Way", "Most server connections", "Answered/s"),
    *("p50, ms", "p99, ms", "Slowest, ms", "Answered", "503", "Other failures"),
]


@dataclass
class Contender:
    """A service, and what its clients saw in each round."""

    subject: Subject
    loads: list[Load] = field(default_factory=list)
    most: int = 0  # The most server connections that it had.

    def take_turn(self, database: Database, clients: int, seconds: int) -> None:
        """Put a fresh process under load, and watch the server."""
        with (
            tempfile.TemporaryDirectory() as folder,
            self.way_to(database) as url,
            self.subject.running(Path(folder), url) as service,
            watched(database) as watch,
        ):
            found = load(service.url, "read", clients=clients, seconds=seconds)
        self.loads.append(found)
        self.most = max(self.most, watch.most)

    @contextmanager
    def way_to(self, database: Database) -> Iterator[str]:
        """Return the URL of a database: the server's own, or that of a PgBouncer."""
        if not self.subject.pooled:
            yield database.url
            return
        with pgbouncer(
            database.url, max_prepared_statements=200, default_pool_size=SERVER_POOL
        ) as bouncer:
            yield bouncer.url(database)

    def row(self) -> tuple[str, ...]:
        """Write it as a row: medians, the worst, and sums."""
        unavailable = sum(found.statuses.get("503", 0) for found in self.loads)
        return (
            self.subject.name,
            "PgBouncer" if self.subject.pooled else "direct",
            str(self.most),
            f"{median(found.rate for found in self.loads):.0f}",
            f"{median(found.p50 for found in self.loads):.0f}",
            f"{median(found.p99 for found in self.loads):.0f}",
            f"{max(found.longest for found in self.loads):.0f}",
            str(sum(found.succeeded for found in self.loads)),
            str(unavailable),
            str(sum(found.failed for found in self.loads) - unavailable),
        )


def contenders(lab: Laboratory) -> list[Contender]:
    """Return the variants of a direct server, and those behind PgBouncer.

    Behind PgBouncer, the engine of a Neon variant is the same.
    """
    return [
        Contender(lab.variant(variant))
        for variant in MEASURED
        if variant.database != "neon"
    ]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each turn")
    parser.add_argument("--clients", type=int, default=500)
    options = parser.parse_args()
    require_wrk()
    with laboratory(max_connections=str(MAX_CONNECTIONS)) as lab:
        database = lab.database()
        found = contenders(lab)
        for _ in range(options.rounds):
            for contender in found:
                contender.take_turn(database, options.clients, options.seconds)
    publish(
        "connections",
        f"{options.clients} clients that read, {options.rounds} rounds of"
        f" {options.seconds} s; medians, the worst of all, and sums. Times are those of"
        " all answers, so where most are 503 they say how fast a client is turned away.",
        table(HEADER, [contender.row() for contender in found]),
    )


if __name__ == "__main__":
    main()
