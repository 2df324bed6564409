"""How long it takes to render, beside Cookiecutter's own floor.

The floor is a template of one empty file. Both are rendered by `cookiecutter` on the
command line, in turns; then once more in one process, to see where the time goes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

from cookiecutter import generate
from cookiecutter import main as main_module

from benchmarks.document import publish, table
from lab.variants import ROOT

TEMPLATE = "this template"
FLOOR = "one empty file"
PARTS = ["whole", "hooks", "files", "rest"]


def make_floor(folder: Path) -> Path:
    """Write a template of one empty file, and return its path."""
    project = folder / "floor" / "{{cookiecutter.project_slug}}"
    project.mkdir(parents=True)
    (project / "empty").touch()
    answers = {"project_slug": "my-service"}
    (project.parent / "cookiecutter.json").write_text(json.dumps(answers))
    return project.parent


def make_settings(folder: Path) -> Path:
    """Write settings that keep Cookiecutter out of the person's own folders."""
    path = folder / "settings.yaml"
    names = ("cookiecutters_dir", "replay_dir")
    path.write_text("".join(f"{name}: {folder / name}\n" for name in names))
    return path


def time_command(template: Path, settings: Path) -> float:
    """Render once as a person does, and return the seconds."""
    with tempfile.TemporaryDirectory() as output:
        command: list[str | Path] = [
            *(sys.executable, "-m", "cookiecutter", "--no-input", template),
            *("--config-file", settings, "--output-dir", output),
        ]
        start = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return perf_counter() - start


@contextmanager
def timed(spent: dict[str, float], part: str, module: Any, name: str) -> Iterator[None]:
    """Add the seconds that a function takes to `spent[part]`."""
    function = getattr(module, name)

    def timing(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += perf_counter() - start

    with patch.object(module, name, timing):
        yield


def time_parts(template: Path, settings: Path) -> dict[str, float]:
    """Render once in this process, and return the seconds of each part."""
    spent: dict[str, float] = defaultdict(float)
    with (
        tempfile.TemporaryDirectory() as output,
        timed(spent, "whole", main_module, "cookiecutter"),
        timed(spent, "hooks", generate, "run_hook_from_repo_dir"),
        timed(spent, "files", generate, "generate_file"),
    ):
        main_module.cookiecutter(
            str(template), no_input=True, output_dir=output, config_file=str(settings)
        )
    return spent


def part_row(title: str, parts: list[dict[str, float]]) -> tuple[str, ...]:
    """Write where the time went as a row: milliseconds, and shares of the whole."""
    whole = median(spent["whole"] for spent in parts)
    hooks = median(spent["hooks"] for spent in parts)
    files = median(spent["files"] for spent in parts)
    rest = whole - hooks - files
    shares = [f"{1000 * s:.0f} ({s / whole:.0%})" for s in (hooks, files, rest)]
    return (title, f"{1000 * whole:.0f}", *shares)


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = range(parser.parse_args().rounds)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        settings = make_settings(folder)
        templates = {FLOOR: make_floor(folder), TEMPLATE: ROOT}
        commands: dict[str, list[float]] = {name: [] for name in templates}
        parts: dict[str, list[dict[str, float]]] = {name: [] for name in templates}
        for template in templates.values():
            time_command(template, settings)
        for _ in rounds:
            for title, template in templates.items():
                commands[title].append(time_command(template, settings))
        for _ in rounds:
            for title, template in templates.items():
                parts[title].append(time_parts(template, settings))
    ratios = [
        own / floor
        for own, floor in zip(commands[TEMPLATE], commands[FLOOR], strict=True)
    ]
    publish(
        "render",
        f"Medians of {len(rounds)} rounds. The command takes {median(ratios):.2f} times"
        f" the floor's time ({min(ratios):.2f} to {max(ratios):.2f}).",
        table(
            ["The command", "ms"],
            [
                (title, f"{1000 * median(times):.0f}")
                for title, times in commands.items()
            ],
        ),
        table(
            ["Inside, without the start of Python, ms", *PARTS],
            [part_row(title, found) for title, found in parts.items()],
        ),
    )


if __name__ == "__main__":
    main()
