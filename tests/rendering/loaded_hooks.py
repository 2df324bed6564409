"""The hooks as modules, as Cookiecutter would render and run them."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from cookiecutter.utils import create_env_with_context

from lab.projects import render
from lab.variants import QUESTIONS, ROOT

HOOKS = ["pre_gen_project", "post_gen_project"]
DEFAULTS: dict[str, object] = {
    "project_name": "My Service",
    "project_slug": "my-service",
    "description": "A FastAPI service on PostgreSQL.",
    "full_name": "Your Name",
    "email": "you@example.com",
    "database": "postgres",
    "pool": "auto",
    "driver": "asyncpg",
    "migrate_service": True,
    "kubernetes": False,
    "postgres_version": "18",
    "python_version": "3.14",
    "_databases": QUESTIONS["_databases"],
    "_drivers": QUESTIONS["_drivers"],
    "__derived_from": "postgres, auto, 18",
}


def load(name: str, folder: Path, answers: Mapping[str, object]) -> ModuleType:
    """Render a hook as Cookiecutter does, and import it."""
    context = {"cookiecutter": dict(answers)}
    source = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    rendered = create_env_with_context(context).from_string(source).render(**context)
    path = folder / f"{name}.py"
    path.write_text(rendered, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problem(pre: Any, **answers: object) -> Any:
    """Return the only problem of the answers."""
    found = pre.check({**DEFAULTS, **answers})
    assert len(found) == 1
    return found[0]


def snapshot(folder: Path) -> list[tuple[str, bool]]:
    """Return everything below a folder, empty folders included."""
    return sorted((str(path), path.is_dir()) for path in folder.rglob("*"))


def replay(output: Path, **changes: object) -> str:
    """Render the defaults, and return the replay file with some answers changed."""
    folder = output.parent / "replay"
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"replay_dir": str(folder)}))
    render(folder, no_input=True, config_file=str(config))
    file = folder / f"{ROOT.name}.json"
    context = json.loads(file.read_text())
    context["cookiecutter"].update(changes)
    file.write_text(json.dumps(context))
    return str(file)
