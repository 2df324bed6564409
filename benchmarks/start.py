"""What it takes to start: import, first healthy response, memory, image, rebuild."""

import argparse
import subprocess
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx2
import psutil

from benchmarks.document import publish, table
from benchmarks.subjects import MEASURED, Laboratory, Subject, laboratory
from comparison.rendering import render
from lab.containers import docker
from lab.images import size as size_of
from lab.services import clean_environment

IMPORT_FLOOR = "import fastapi, sqlmodel"
IMPORT_SERVICE = "import app.main"
IMAGE = "benchmark-of-the-start"
MEGA = 1_000_000


def seconds(*command: str | Path, **options: Any) -> float:
    """Run a command, and return how long it took."""
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True, **options)
    return perf_counter() - start


def time_import(subject: Subject, statement: str) -> float:
    """Run a statement in a fresh interpreter, and return the seconds it all took."""
    settings = {"DATABASE_URL": "postgresql://app:s3cret@127.0.0.1/app"}
    return seconds(
        *(subject.environment.python, "-c", statement),
        cwd=subject.project,
        env=clean_environment(subject.environment, settings),
    )


def time_start(subject: Subject, folder: Path, url: str) -> tuple[float, float]:
    """Return the seconds to the first answer from the database, and megabytes then."""
    start = perf_counter()
    with subject.running(folder, url) as service:
        httpx2.get(f"{service.url}/users/1").raise_for_status()
        passed = perf_counter() - start
        memory = psutil.Process(service.process.pid).memory_info().rss
    return passed, memory / MEGA


def import_table(subjects: list[Subject], rounds: range) -> str:
    """Time the import of each service, beside that of FastAPI and SQLModel alone."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(-1, len(rounds)):
        for subject in subjects:
            times = [
                time_import(subject, statement)
                for statement in (IMPORT_FLOOR, IMPORT_SERVICE)
            ]
            if number >= 0:  # The first round writes the bytecode.
                found[subject.name].append((times[0], times[1]))
    rows = []
    for name, pairs in found.items():
        floors, services = zip(*pairs, strict=True)
        ratio = median(own / floor for floor, own in pairs)
        milliseconds = [f"{1000 * median(times):.0f}" for times in (floors, services)]
        rows.append((name, *milliseconds, f"{ratio:.2f}"))
    return table(["Import", "FastAPI and SQLModel, ms", "Service, ms", "Ratio"], rows)


def start_table(lab: Laboratory, subjects: list[Subject], rounds: range) -> str:
    """Time the start of each service, and take its memory."""
    url = lab.database().url
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in rounds:
        for subject in subjects:
            found[subject.name].append(time_start(subject, lab.folder, url))
    rows = [
        (
            name,
            f"{1000 * median(passed for passed, _ in pairs):.0f}",
            f"{median(memory for _, memory in pairs):.0f}",
        )
        for name, pairs in found.items()
    ]
    return table(["Start", "First answer, ms", "Resident memory, MB"], rows)


def image_table(project: Path, base: str) -> str:
    """Build the image, and list what its layers add to the base."""
    docker("build", "--target", "runtime", "--tag", IMAGE, str(project))
    layers = history(IMAGE)[: -len(history(base))]
    rows = [(command, size) for size, command in reversed(layers) if size != "0B"]
    added = (size_of(IMAGE) - size_of(base)) / MEGA
    return table(
        [f"Layers above {base}", "Size"], [*rows, ("together", f"{added:.0f}MB")]
    )


def history(image: str) -> list[tuple[str, str]]:
    """Return the size and the command of each layer, the newest first."""
    lines = docker(
        "history", "--no-trunc", "--format", "{{.Size}}|{{.CreatedBy}}", image
    ).stdout.splitlines()
    parts = [line.partition("|") for line in lines]
    return [
        (size, command.removesuffix("# buildkit").strip()) for size, _, command in parts
    ]


def rebuild_seconds(project: Path, rounds: range) -> float:
    """Return the seconds of a build after a change of one line in `app/`."""
    main = project / "app" / "main.py"
    times = []
    for number in rounds:
        main.write_text(main.read_text() + f"# change {number}\n")
        times.append(
            seconds("docker", "build", "--target=runtime", f"--tag={IMAGE}", project)
        )
    return median(times)


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = range(parser.parse_args().rounds)
    defaults = [variant for variant in MEASURED if variant.automatic_pool]
    chosen = replace(defaults[0], python_version="3.14", postgres_version="17")
    with laboratory() as lab:
        services = [lab.variant(variant) for variant in defaults]
        imports = import_table(services, rounds)
        references = [lab.floor(), lab.sync_sqlmodel()]
        starts = start_table(lab, [*references, *services], rounds)
        project = render(chosen.answers, lab.folder / "image")
        try:
            image = image_table(project, f"python:{chosen.python_version}-slim")
            rebuild = rebuild_seconds(project, rounds)
        finally:
            docker("image", "rm", "--force", IMAGE, check=False)
    publish(
        "start",
        f"Medians of {len(rounds)} rounds.",
        imports,
        starts,
        image,
        f"A rebuild after a change of one line in `app/` takes {rebuild:.1f} s.",
    )


if __name__ == "__main__":
    main()
