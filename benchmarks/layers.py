"""Where the processor time of a read goes: one layer more from row to row."""

import argparse
from shutil import copy
from statistics import median

import psutil

from benchmarks.document import publish, table
from benchmarks.load import load, require_wrk
from benchmarks.subjects import MEASURED, REFERENCES, laboratory
from lab.services import RunningService

CLIENTS = 5  # As many as the pool keeps, so that nothing waits and nothing overflows.
MAIN = "app/main.py"
ROUTER = "app.include_router(users.router)"

LAYERS = {
    "/layers/fastapi/": "FastAPI: route, parameters, response model",
    "/layers/session/": "and a session dependency, in the queue, unused",
    "/layers/core/": "and SQLAlchemy Core: columns, prepared statement",
    "/users/": "and the ORM: a `User`, as rendered",
}


def cpu_per_request(service: RunningService, path: str, seconds: int) -> float:
    """Return the milliseconds of processor time that a request costs."""
    process = psutil.Process(service.process.pid)
    before = process.cpu_times()
    found = load(service.url, "read", clients=CLIENTS, seconds=seconds, path=path)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return float(1000 * used / found.succeeded)


def read_options(about: str | None) -> argparse.Namespace:
    """Read how many rounds there are, and the seconds of a turn; needs wrk."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each turn")
    options = parser.parse_args()
    require_wrk()
    return options


def main() -> None:
    """Measure, print and write the table."""
    options = read_options(__doc__)
    [variant] = [v for v in MEASURED if v.id == "postgres-queuepool-asyncpg-migrate"]
    with laboratory() as lab:
        router = f"{ROUTER}\napp.include_router(layers.router)"
        layered = lab.altered(
            variant,
            "layers",
            (MAIN, ROUTER, router),
            (MAIN, "from app.errors", "from app import layers\nfrom app.errors"),
        )
        copy(REFERENCES / "layers.py", layered.project / "app")
        url = lab.database().url
        with (
            lab.floor().running(lab.folder, url) as floor,
            lab.floor_without_reset().running(lab.folder, url) as bare,
            layered.running(lab.folder, url) as service,
        ):
            ways = [
                ("FastAPI on asyncpg's own pool: the floor", floor, "/users/"),
                ("the floor, without the pool's reset", bare, "/users/"),
                *((title, service, path) for path, title in LAYERS.items()),
            ]
            found: list[list[float]] = [[] for _ in ways]
            for _ in range(options.rounds):
                for times, (_, each, path) in zip(found, ways, strict=True):
                    times.append(cpu_per_request(each, path, options.seconds))
    publish(
        "layers",
        f"Medians of {options.rounds} rounds, {CLIENTS} clients,"
        f" {variant.id.removesuffix('-migrate')}.",
        table(
            ["A read of one user", "CPU, ms/request", "Spread"],
            [
                (
                    title,
                    f"{median(times):.2f}",
                    f"{min(times):.2f} to {max(times):.2f}",
                )
                for times, (title, *_) in zip(found, ways, strict=True)
            ],
        ),
    )


if __name__ == "__main__":
    main()
