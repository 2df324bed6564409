"""Requests per second, and how long the slowest wait, beside a floor.

The floor is the smallest FastAPI application on a bare asyncpg pool, which resets every
connection after its use; a second floor does not. All services run
at the same time, with one worker each, and take turns under load: round after round,
so that whatever else the machine does meets all of them. The ratio to the floor of the
same round is the result; the rates themselves say little about another machine.

The other tables have pools alone: with fewer clients than connections, but more than
`pool_size`, and with three times more clients than connections.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil

from benchmarks.document import publish, table
from benchmarks.load import Load, load, require_wrk
from benchmarks.subjects import MEASURED, Laboratory, Subject, laboratory
from lab.pgbouncers import PgBouncer, pgbouncer
from lab.services import RunningService

OPERATIONS = ["read", "list", "write"]
FLOOR = "floor"
WARM_UP_SECONDS = 1
PATTERNS = ["queuepool", "nullpool", "neon"]
CLIENTS = 32
FEW_CLIENTS = 12  # More than `pool_size`, fewer than the 5 + 10 connections of a pool.
MANY_CLIENTS = 45  # Three for each of the 5 + 10 connections.
FIXED_POOL = {"DB_POOL_SIZE": "15", "DB_MAX_OVERFLOW": "0"}
DATABASE = "app/core/database.py"
SQLALCHEMY_POOL = (DATABASE, "    poolclass=FairQueuePool,\n", "")


@dataclass(frozen=True)
class Turn:
    """One service under load for a while."""

    load: Load
    cpu: float  # Milliseconds of the service's processor time for each request.


def subjects(lab: Laboratory) -> list[Subject]:
    """Return the references and the variants, the floor first."""
    return [
        lab.floor(),
        lab.floor_without_reset(),
        *(lab.variant(variant) for variant in MEASURED),
        *(lab.patterns(pool) for pool in PATTERNS),
        lab.sync_sqlmodel(),
    ]


def pools(lab: Laboratory) -> list[Subject]:
    """Return pools on a direct server: as rendered, changed, and of a fixed size."""
    found = [lab.floor()]
    for variant in MEASURED:
        if (variant.database, variant.pool) == ("postgres", "queuepool"):
            rendered = lab.variant(variant)
            found += [
                replace(rendered, name=f"{variant.driver}, 5 + 10"),
                lab.altered(
                    variant, f"{variant.driver}, SQLAlchemy's", SQLALCHEMY_POOL
                ),
                replace(
                    rendered, name=f"{variant.driver}, 15 + 0", variables=FIXED_POOL
                ),
            ]
    return found


def take_turn(
    service: RunningService, operation: str, clients: int, seconds: int
) -> Turn:
    """Put a service under load, and take its processor time."""
    process = psutil.Process(service.process.pid)
    before = process.cpu_times()
    found = load(service.url, operation, clients=clients, seconds=seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return Turn(found, 1000 * used / max(found.succeeded, 1))


def rows(turns: dict[str, list[Turn]]) -> Iterable[Sequence[str]]:
    """Write the turns as rows of a table, with ratios to the floor."""
    floor = [turn.load.rate for turn in turns[FLOOR]]
    for name, own in turns.items():
        ratios = [turn.load.rate / rate for turn, rate in zip(own, floor, strict=True)]
        yield (
            name,
            f"{median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{median(turn.load.rate for turn in own):.0f}",
            f"{median(turn.load.p50 for turn in own):.0f}",
            f"{median(turn.load.p99 for turn in own):.0f}",
            f"{median(turn.cpu for turn in own):.2f}",
            str(sum(turn.load.failed for turn in own)),
        )


HEADER = [
    *("Service", "Ratio to the floor", "Spread", "Requests/s"),
    *("p50, ms", "p99, ms", "CPU, ms/request", "Failed"),
]


@dataclass(frozen=True)
class Plan:
    """What a table compares."""

    subjects: list[Subject]
    operations: list[str]
    rounds: int
    clients: int
    seconds: int

    def tables(self, lab: Laboratory, bouncer: PgBouncer) -> list[str]:
        """Run all services, and return a title and a table for each operation."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            services = {}
            for subject in self.subjects:
                database = lab.database()
                url = bouncer.url(database) if subject.pooled else database.url
                services[subject.name] = stack.enter_context(
                    subject.running(folder, url)
                )
            parts = []
            for operation in self.operations:
                parts += [
                    f"### {operation.capitalize()}, {self.clients} clients",
                    table(HEADER, rows(self.measure(services, operation))),
                ]
        return parts

    def measure(
        self, services: dict[str, RunningService], operation: str
    ) -> dict[str, list[Turn]]:
        """Return the turns of each service, round by round."""
        turns: dict[str, list[Turn]] = defaultdict(list)
        for service in services.values():
            take_turn(service, operation, self.clients, WARM_UP_SECONDS)
        for _ in range(self.rounds):
            for name, service in services.items():
                turn = take_turn(service, operation, self.clients, self.seconds)
                turns[name].append(turn)
        return turns


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each turn")
    options = parser.parse_args()
    require_wrk()
    with (
        # Commits wait for the disk, as they do in production.
        laboratory(fsync="on") as lab,
        pgbouncer(
            lab.server.url, max_prepared_statements=200, default_pool_size=20
        ) as bouncer,
    ):
        limits = (options.rounds, CLIENTS, options.seconds)
        parts = Plan(subjects(lab), OPERATIONS, *limits).tables(lab, bouncer)
        compared = pools(lab)
        for clients in (FEW_CLIENTS, MANY_CLIENTS):
            limits = (options.rounds, clients, options.seconds)
            parts += Plan(compared, ["read", "write"], *limits).tables(lab, bouncer)
    publish(
        "throughput",
        f"Medians of {options.rounds} rounds of {options.seconds} s.",
        *parts,
    )


if __name__ == "__main__":
    main()
