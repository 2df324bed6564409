"""An update leaves alone what is the person's, also the update from the first release.

The preset for Neon, with what a person has written in its service.
"""

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.changes import export
from lab.clones import commit, copy_template, git, new_checkout
from lab.copies import replace_once
from lab.projects import Project
from lab.services import ServiceEnvironment
from lab.variants import ROOT
from tests.rendering.test_update import (
    CONFLICT,
    TEMPLATE_FOLDER,
    Edit,
    cookiecutter_from,
    created,
    edit,
    files,
    preset_answers,
    rejected,
    release_version,
    service,
    template,
    update,
)

__all__ = ["service", "template"]  # Fixtures.

FIRST_RELEASE = "2d758b9"
PRESET = "production-neon"
MIGRATION = "alembic/versions/0001_create_teams_and_users.py"
NEW_MIGRATION = "alembic/versions/0002_theirs.py"
OLD_TEST = "test_wrong_method_names_the_right_ones"
OURS = "alembic/versions/0002_ours.py"

# What a person adds to a service of the first release, by file.
ADDED = {
    "app/main.py": Edit(
        "app.include_router(users.router)\n",
        "app.include_router(users.router)\n# ours\n",
    ),
    "app/core/config.py": Edit(
        "    debug: bool = False\n", "    debug: bool = False\n    ours: bool = True\n"
    ),
    "app/models.py": Edit("", "\n\n# ours\n"),
    "app/routers/users.py": Edit("", "\n\n# ours\n"),
    "tests/test_users.py": Edit("", "\n\n# ours\n"),
    "Dockerfile": Edit("COPY alembic.ini ./\n", "COPY alembic.ini ours.ini ./\n"),
    "pyproject.toml": Edit('    "pydantic>', '    "httpx2>=2",\n    "pydantic>'),
    "README.md": Edit("", "\n## Ours\n\nOur runbook.\n"),
    ".env.example": Edit("", "OURS=1\n"),
}


def owned(service: Path) -> list[str]:
    """Return the files of a service that an update leaves alone."""
    settings = tomllib.loads((service / "pyproject.toml").read_text())
    skipped = tuple(settings["tool"]["cruft"]["skip"])
    return [name for name in files(service) if name.startswith(skipped)]


def test_owned_files_exist(project: Project) -> None:
    assert MIGRATION in owned(project.path)
    settings = tomllib.loads(project.read("pyproject.toml"))
    for name in settings["tool"]["cruft"]["skip"]:
        assert (project.path / name).exists(), name


def test_update_leaves_owned_files_alone(template: Path, service: Path) -> None:
    names = owned(service)
    before = files(service)
    for name in names:
        with (template / TEMPLATE_FOLDER / name).open("a") as file:
            file.write("\n\n# theirs\n")
    (template / TEMPLATE_FOLDER / NEW_MIGRATION).write_text("# theirs\n")
    release_version(template)
    update(service)
    after = files(service)
    assert {name: after[name] for name in names} == {
        name: before[name] for name in names
    }
    assert NEW_MIGRATION not in after
    assert after["pyproject.toml"] != before["pyproject.toml"]


@pytest.fixture
def first_service(tmp_path: Path) -> Path:
    """A service that cruft created from the first release, and that a person changed.

    Its template has a newer version: this one.
    """
    template = export(FIRST_RELEASE, tmp_path / "cookiecutter-fastapi-postgres")
    new_checkout(template)
    git(template, "tag", "v0.1.0")
    service = created(template, preset_answers(PRESET), checkout="v0.1.0")
    for name, change in ADDED.items():
        edit(service / name, change)
    (service / OURS).write_text("# ours\n")
    commit(service, "Ours")
    git(template, "rm", "-r", "--quiet", ".")
    copy_template(template)
    commit(template, "This version")
    return service


def skipped() -> list[str]:
    """Return what the changelog lets the first update leave alone."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("To update from 0.1.0 with cruft")
    line = rest.partition("```json\n")[2].partition("```")[0].strip().rstrip(",")
    names: list[str] = json.loads(f"{{{line}}}")["skip"]
    return names


@pytest.mark.everything
def test_update_from_the_first_release(
    first_service: Path,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path: Path,
) -> None:
    settings = first_service / ".cruft.json"
    saved = json.loads(settings.read_text())
    settings.write_text(json.dumps(saved | {"skip": skipped()}, indent=2))
    commit(first_service, "What is ours")
    before = files(first_service)
    assert "Good work!" in update(first_service)
    assert rejected(first_service) == []
    names = owned(first_service)
    after = files(first_service)
    assert {name: after[name] for name in names} == {
        name: before[name] for name in names
    }
    assert OURS in names
    template = tmp_path / "cookiecutter-fastapi-postgres"
    answers = preset_answers(PRESET)
    fresh = files(cookiecutter_from(template, tmp_path / "fresh", answers))
    for name, (content, _) in after.items():
        assert CONFLICT.encode() not in content, name
        if name in ADDED:
            assert ADDED[name].new.encode() in content, name
        elif name not in names:
            assert content == fresh[name][0], name
    new_example = {name for name in fresh if name.startswith(tuple(skipped()))}
    assert fresh.keys() - after.keys() <= new_example
    follow_by_hand(first_service)
    (first_service / OURS).unlink()
    gone = f"--deselect=tests/test_users.py::{OLD_TEST}"
    environments(answers["driver"]).run(first_service, "pytest", "-q", gone)


def follow_by_hand(service: Path) -> None:
    """Do what the changelog says is left."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, old, new in (
        (
            "app/routers/users.py",
            "from app.core.database import",
            "from app.dependencies import",
        ),
        ("tests/test_users.py", "from httpx import", "from httpx2 import"),
    ):
        assert f"In `{name}`" in text
        assert f"`{old}` becomes `{new}`" in text
        replace_once(service / name, old, new)
    assert "In `app/main.py`, `teams` goes" in text
    main = service / "app" / "main.py"
    replace_once(main, "import health, teams, users", "import health, users")
    replace_once(main, "app.include_router(teams.router)\n", "")
    assert f"`{OLD_TEST}` goes" in text


def test_history_has_the_first_release() -> None:
    """A shallow clone has not: CI fetches everything."""
    command = ["git", "cat-file", "-e", f"{FIRST_RELEASE}:cookiecutter.json"]
    subprocess.run(command, cwd=ROOT, check=True)
