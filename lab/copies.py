"""Working copies of baked projects, which a test may change or fill with caches."""

import os
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess

from lab.projects import Project
from lab.services import ServiceEnvironment

_times = count(1_000_000_000)


def working_copy(project: Project, folder: Path) -> Path:
    """Copy a baked project into `folder`. No two copies have the same time of change.

    mypy and Python take a file for unchanged if its size and its second of change are.
    """
    path = folder / project.path.name
    shutil.copytree(project.path, path)
    seconds = next(_times)
    for file in path.rglob("*"):
        os.utime(file, (seconds, seconds))
    return path


def replace_once(path: Path, old: str, new: str) -> None:
    """Replace a text that occurs exactly once in a file."""
    text = path.read_text(encoding="utf-8")
    occurrences = text.count(old)
    assert occurrences == 1, f"{path.name} has {old!r} {occurrences} times, not once"
    path.write_text(text.replace(old, new), encoding="utf-8")


def add_models(path: Path, name: str, text: str) -> Path:
    """Add a module of models to a service, as its README says; return the module.

    `name` is a model that the module defines.
    """
    folder = path / "app" / "models"
    module = folder / f"{name.lower()}.py"
    module.write_text(text, encoding="utf-8")
    package = folder / "__init__.py"
    line = "from app.models.team import"
    replace_once(package, line, f"from app.models.{module.stem} import {name}\n{line}")
    replace_once(package, "__all__ = [", f'__all__ = ["{name}", ')
    return module


def run_with(
    settings: Mapping[str, str],
    environment: ServiceEnvironment,
    path: Path,
    *command: str,
    check: bool = True,
) -> CompletedProcess[str]:
    """Run `python -m COMMAND` in the copy at `path`, with these variables set."""
    return environment.run(path, *command, check=check, timeout=300, **settings)
