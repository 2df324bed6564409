"""A service follows the template with cruft: create, update, check, diff, link."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from lab.clones import (
    VERSION,
    clone_commands,
    commit,
    git,
    localised,
    new_checkout,
    page_commands,
    run,
    tagged_template,
)
from lab.copies import replace_once
from lab.projects import render as cookiecutter
from lab.projects import tree_of
from lab.variants import QUESTIONS, ROOT

TEMPLATE_FOLDER = "{{cookiecutter.project_slug}}"
STATE = ".cruft.json"
NEXT = "9.9.9"
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
CONFLICT = "<<<<<<<"


class Edit(NamedTuple):
    """A text in a file, and what it becomes."""

    old: str
    new: str


class Both(NamedTuple):
    """What a person and the template change in the same file, on different lines.

    A person's `old` text may be empty: then `new` is appended.
    """

    file: str
    person: Edit
    template: Edit


EDITS = [
    Both(
        "app/main.py",
        Edit(
            "app.include_router(users.router)\n",
            "app.include_router(users.router)\n# ours\n",
        ),
        Edit('"""The application:', '"""The whole application:'),
    ),
    Both(
        "app/core/config.py",
        Edit(
            "    debug: bool = False\n",
            "    debug: bool = False\n    ours: bool = True\n",
        ),
        Edit('"""The settings of the service.', '"""All settings of the service.'),
    ),
    Both(
        "app/core/database.py",
        Edit("", "\n\n# ours\n"),
        Edit('"""The engine: how', '"""The engine, or how'),
    ),
    Both(
        "app/routers/health.py",
        Edit("", "\n\n# ours\n"),
        Edit('"""Liveness', '"""The liveness'),
    ),
    Both(
        "alembic/env.py",
        Edit("import app.models ", "import app.ours\nimport app.models "),
        Edit('"""Run migrations online,', '"""Run all migrations online,'),
    ),
    Both(
        "docker-compose.yml",
        Edit("", "  # ours\n"),
        Edit("stop_grace_period: 30s", "stop_grace_period: 45s"),
    ),
    Both(
        "Dockerfile",
        Edit("EXPOSE 8000\n", "EXPOSE 8000 9000\n"),
        Edit("UV_LINK_MODE=copy", "UV_LINK_MODE=hardlink"),
    ),
    Both(
        "pyproject.toml",
        Edit("dependencies = [\n", 'dependencies = [\n    "ours>=1",\n'),
        Edit('"httpx2>=2.0,<3"', '"httpx2>=3.0,<4"'),
    ),
    Both(
        "README.md",
        Edit("", "\n## Ours\n\nOur runbook.\n"),
        Edit("It uses SQLModel and", "It is made of SQLModel and"),
    ),
    Both(
        ".env.example",
        Edit("", "OURS=1\n"),
        Edit("# Copy this file to .env.", "# Copy this file to .env first."),
    ),
    Both(
        ".github/workflows/ci.yml",
        Edit("branches: [main]", "branches: [main, ours]"),
        Edit("timeout-minutes: 15\n    services", "timeout-minutes: 20\n    services"),
    ),
    Both(".gitignore", Edit("", "ours/\n"), Edit(".venv/\n", ".venv/\n.envrc\n")),
]


def cruft(
    folder: Path, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run cruft in a folder."""
    return run(folder, sys.executable, "-m", "cruft", *arguments, check=check)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A repository of the template, with its version as a tag."""
    return tagged_template(tmp_path / "cookiecutter-fastapi-postgres")


def created(
    template: Path,
    answers: Mapping[str, object] | None = None,
    checkout: str = VERSION,
) -> Path:
    """Create a service with cruft, from a tag, and commit it."""
    folder = template.parent / "services"
    folder.mkdir()
    context = json.dumps(answers or {})
    cruft(
        folder,
        *("create", str(template), "--checkout", checkout, "--no-input"),
        *("--default-config", "--extra-context", context),
    )
    (service,) = folder.iterdir()
    return new_checkout(service)


@pytest.fixture
def service(template: Path) -> Path:
    """A service that cruft created, as the preset for Neon has it."""
    return created(template, preset_answers("production-neon"))


def preset_answers(name: str) -> dict[str, Any]:
    text = (ROOT / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    answers: dict[str, Any] = yaml.safe_load(text)["default_context"]
    return answers


def edit(path: Path, change: Edit) -> None:
    """Change a file, or append to it."""
    if change.old:
        replace_once(path, *change)
    else:
        path.write_text(path.read_text(encoding="utf-8") + change.new, encoding="utf-8")


def release(template: Path) -> None:
    """Change the template in every interesting file, and tag the next version."""
    for both in EDITS:
        edit(template / TEMPLATE_FOLDER / both.file, both.template)
    release_version(template)


def release_version(template: Path) -> None:
    """Tag what is there as the next version."""
    version = f'"_template_version": "{QUESTIONS["_template_version"]}"'
    replace_once(
        template / "cookiecutter.json", version, f'"_template_version": "{NEXT}"'
    )
    commit(template, "The next version")
    git(template, "tag", f"v{NEXT}")


def update(service: Path) -> str:
    """Update a service, and return what cruft prints."""
    completed = cruft(service, "update", "--skip-apply-ask")
    return completed.stdout + completed.stderr


def is_clean(service: Path) -> bool:
    """Tell whether `cruft diff` finds nothing."""
    return cruft(service, "diff", "--exit-code", check=False).returncode == 0


def rejected(service: Path) -> list[str]:
    """Return the files that cruft could not merge: with marks, or beside a `.rej`."""
    unmerged = git(service, "diff", "--name-only", "--diff-filter=U").split()
    return unmerged + [path.name for path in service.rglob("*.rej")]


def files(service: Path) -> dict[str, tuple[bytes, bool]]:
    """Return the files of a service, without git's and cruft's own."""
    return {
        name: entry
        for name, entry in tree_of(service).items()
        if not name.startswith(".git/") and name != STATE
    }


def cookiecutter_from(
    template: Path, folder: Path, answers: Mapping[str, object]
) -> Path:
    """Run Cookiecutter on a template as a person does."""
    folder.mkdir()
    pairs = [f"{name}={str(value).lower()}" for name, value in answers.items()]
    run(
        folder,
        *(sys.executable, "-m", "cookiecutter", "--no-input", "--default-config"),
        *(str(template), *pairs),
    )
    (project,) = folder.iterdir()
    return project


# A fresh service


@pytest.mark.everything
@pytest.mark.parametrize("preset", [path.stem for path in PRESETS])
def test_fresh_service_is_clean(template: Path, preset: str, tmp_path: Path) -> None:
    answers = preset_answers(preset)
    service = created(template, answers)
    assert "up to date" in cruft(service, "check").stdout
    assert is_clean(service)
    expected = cookiecutter(tmp_path / "plain", no_input=True, extra_context=answers)
    assert files(service) == tree_of(expected)


@pytest.mark.everything
def test_state_is_the_same_every_time(template: Path, service: Path) -> None:
    """Random values would make cruft patch something at every update."""
    first = (service / STATE).read_text()
    shutil.rmtree(service.parent)
    second = created(template, preset_answers("production-neon")) / STATE
    assert second.read_text() == first
    state = json.loads(first)
    assert state["checkout"] == VERSION
    answers = state["context"]["cookiecutter"]
    assert answers["database"] == "neon"
    assert "password" not in str({**answers, "_databases": None}).lower()


@pytest.mark.everything
@pytest.mark.parametrize("slug", ["a/b/c", "../x", "x/.."])
def test_refused_slug_leaves_nothing_behind(template: Path, slug: str) -> None:
    folder = template.parent / "services"
    folder.mkdir()
    context = json.dumps({"project_slug": slug})
    options = ("--no-input", "--default-config", "--extra-context", context)
    completed = cruft(folder, "create", str(template), *options, check=False)
    assert completed.returncode == 1
    assert f"project_slug\n  given: '{slug}'\n" in completed.stderr
    assert list(folder.iterdir()) == []
    assert not (template.parent / "x").exists()


# An update


def test_update_merges(template: Path, service: Path) -> None:
    for both in EDITS:
        edit(service / both.file, both.person)
    (service / "alembic" / "versions" / "0002_ours.py").write_text("# ours\n")
    commit(service, "Ours")
    release(template)
    assert cruft(service, "check", check=False).returncode == 1
    printed = update(service)
    assert "Good work!" in printed
    assert rejected(service) == []
    for both in EDITS:
        text = (service / both.file).read_text(encoding="utf-8")
        assert both.person.new in text, both.file
        assert both.template.new in text, both.file
        assert CONFLICT not in text, both.file
    assert (service / "alembic" / "versions" / "0002_ours.py").exists()
    assert f'version = "{NEXT}"' in (service / "pyproject.toml").read_text()
    assert f", version {NEXT}." in (service / "README.md").read_text()
    commit(service, "Update")
    assert cruft(service, "check").returncode == 0
    shown = cruft(service, "diff", check=False).stdout
    added = [line[1:] for line in shown.splitlines() if line.startswith(("+", "-"))]
    for both in EDITS:
        assert not [line for line in added if line.strip() == both.template.new.strip()]
    assert any("Our runbook." in line for line in added)


@pytest.mark.everything
def test_update_of_an_unchanged_service_is_a_fresh_render(
    template: Path, service: Path, tmp_path: Path
) -> None:
    release(template)
    update(service)
    answers = preset_answers("production-neon")
    assert files(service) == tree_of(
        cookiecutter_from(template, tmp_path / "fresh", answers)
    )
    commit(service, "Update")
    assert is_clean(service)


@pytest.mark.everything
def test_update_adds_and_removes_files(template: Path, service: Path) -> None:
    folder = template / TEMPLATE_FOLDER
    (folder / "docs.md").write_text("# {{ cookiecutter.project_name }}\n")
    (folder / ".pre-commit-config.yaml").unlink()
    release_version(template)
    update(service)
    assert (service / "docs.md").read_text() == "# My Service\n"
    assert not (service / ".pre-commit-config.yaml").exists()
    assert rejected(service) == []


@pytest.mark.everything
def test_update_leaves_a_deleted_file_deleted(template: Path, service: Path) -> None:
    (service / ".pre-commit-config.yaml").unlink()
    commit(service, "Without pre-commit")
    release(template)
    update(service)
    assert not (service / ".pre-commit-config.yaml").exists()
    assert rejected(service) == []


def test_conflict_is_seen(template: Path, service: Path) -> None:
    """On the same line, cruft leaves marks, exits with 0 and says "Good work!"."""
    first = EDITS[0]
    edit(service / first.file, Edit(first.template.old, '"""Our application:'))
    commit(service, "Ours")
    release(template)
    assert "Good work!" in update(service)
    assert rejected(service) == [first.file]
    assert CONFLICT in (service / first.file).read_text()


@pytest.mark.everything
def test_update_refuses_uncommitted_work(template: Path, service: Path) -> None:
    (service / "README.md").write_text("ours")
    release(template)
    completed = cruft(service, "update", "--skip-apply-ask", check=False)
    assert completed.returncode == 1
    assert "unclean git project" in completed.stdout
    assert (service / "README.md").read_text() == "ours"


@pytest.mark.everything
def test_answers_can_be_changed(template: Path, service: Path, tmp_path: Path) -> None:
    """Cruft removes what the old answers rendered and the new ones do not."""
    answers = {**preset_answers("production-neon"), "database": "postgres"}
    change = json.dumps({"database": "postgres"})
    cruft(service, "update", "--skip-apply-ask", "--variables-to-update", change)
    assert files(service) == tree_of(
        cookiecutter_from(template, tmp_path / "fresh", answers)
    )
    assert not (service / "tests" / "test_endpoint.py").exists()


# A service that was made without cruft


@pytest.mark.everything
def test_link(template: Path, tmp_path: Path) -> None:
    answers = {**preset_answers("production-neon"), "project_name": "Orders"}
    service = new_checkout(cookiecutter_from(template, tmp_path / "plain", answers))
    cruft(service, *link_arguments(template), "--config-file", ".cookiecutter.yaml")
    commit(service, "Link")
    assert cruft(service, "check").returncode == 0
    assert is_clean(service)
    for both in EDITS:
        edit(service / both.file, both.person)
    commit(service, "Ours")
    release(template)
    assert cruft(service, "check", check=False).returncode == 1
    update(service)
    assert rejected(service) == []
    for both in EDITS:
        assert both.template.new in (service / both.file).read_text(), both.file
        assert both.person.new in (service / both.file).read_text(), both.file


def link_arguments(template: Path) -> list[str]:
    return ["link", str(template), "--checkout", VERSION, "--no-input"]


@pytest.mark.everything
def test_link_without_the_answers_is_seen(template: Path, tmp_path: Path) -> None:
    """Cruft then takes the defaults: the README gives it the answers file."""
    answers = preset_answers("production-neon")
    service = new_checkout(cookiecutter_from(template, tmp_path / "plain", answers))
    cruft(service, *link_arguments(template), "--default-config")
    commit(service, "Link")
    completed = cruft(service, "diff", "--exit-code", check=False)
    assert completed.returncode == 1
    assert "NEON_POOLED_URL" in completed.stdout


# The README's commands


@pytest.mark.everything
@pytest.mark.parametrize("from_clone", [False, True], ids=["published", "clone"])
def test_commands_of_the_readme(
    template: Path, tmp_path: Path, from_clone: bool
) -> None:
    """Each as it stands there, with a local template, also before a tag exists."""
    create, link, check, diff, renew = page_commands("docs/update.md", "# Update")
    if from_clone:
        create, link = clone_commands("docs/update.md", "# Update")
        git(template, "tag", "--delete", VERSION)
    questions = "\n" * len([name for name in QUESTIONS if not name.startswith("_")])
    printed = readme_run(create, template, tmp_path, text=questions)
    assert "The project is ready." not in printed
    service = new_checkout(tmp_path / "my-service")
    (service / STATE).unlink()
    commit(service, "As if made without cruft")
    readme_run(link, template, service)
    commit(service, "Link")
    readme_run(check, template, service)
    assert "--- " not in readme_run(diff, template, service)
    release(template)
    printed = readme_run(renew, template, service)
    assert "Good work!" in printed
    assert rejected(service) == []
    assert f", version {NEXT}." in (service / "README.md").read_text()


def readme_run(command: str, template: Path, folder: Path, text: str = "") -> str:
    """Run a command of the README, and return what it prints."""
    assert re.match(r"uvx cruft (create|link|check|diff|update)\b", command)
    return run(folder, "sh", "-ec", localised(command, template), text=text).stdout


def test_readme_needs_no_tag() -> None:
    """Nobody has made one while the template is new."""
    commands = page_commands("docs/update.md", "# Update") + clone_commands(
        "docs/update.md", "# Update"
    )
    assert not [command for command in commands if "--checkout" in command]


@pytest.mark.parametrize("both", EDITS, ids=lambda both: both.file)
def test_edits_are_on_different_lines(both: Both) -> None:
    """Otherwise the test of the merge would prove nothing."""
    source = (ROOT / TEMPLATE_FOLDER / both.file).read_text(encoding="utf-8")
    assert both.template.old in source
    assert both.person.old in source


@pytest.fixture(autouse=True)
def _no_leftovers(tmp_path: Path) -> Any:
    """Remove the clones: they are many."""
    yield
    if not os.environ.get("KEEP"):
        shutil.rmtree(tmp_path, ignore_errors=True)
