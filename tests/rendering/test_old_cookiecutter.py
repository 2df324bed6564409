"""An old Cookiecutter, as Debian 12 has one, is named, with what gets a newer one.

The oldest that works, and the newest that does not take a switch as key=value.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.clones import run
from lab.projects import Bakery, tree_of
from lab.variants import ROOT, SWITCHES
from tests.rendering.loaded_hooks import DEFAULTS
from tests.rendering.test_refused import command_in

pytestmark = pytest.mark.skipif(os.name == "nt", reason="The command is for a shell")

NEWEST_OLD = "2.6.0"
REFUSED = ["1.7.3", "2.1.1", NEWEST_OLD]
NEON = {"database": "neon"}


def cookiecutter(
    version: str, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a version of Cookiecutter from PyPI on the template, in a folder."""
    folder.mkdir()
    tool = ("uvx", "--python", sys.executable, f"cookiecutter@{version}")
    options = ("--no-input", "--default-config", str(ROOT), *arguments)
    return run(folder, *tool, *options, check=False)


@pytest.mark.everything
@pytest.mark.parametrize("version", REFUSED)
def test_old_version_is_named_and_the_command_gets_a_newer_one(
    version: str, bake: Bakery, tmp_path: Path
) -> None:
    answers = {**NEON, "migrate_service": False}
    arguments = [f"{name}={str(value).lower()}" for name, value in answers.items()]
    refused = cookiecutter(version, tmp_path / "work", *arguments)
    assert refused.returncode == 1
    assert f"cookiecutter\n  given: '{version}'\n" in refused.stderr
    assert "__derived_from" not in refused.stderr
    assert list((tmp_path / "work").iterdir()) == []
    run(tmp_path / "work", "sh", "-ec", command_in(refused.stderr))
    assert tree_of(tmp_path / "work" / "my-service") == bake(**answers).tree()


@pytest.mark.everything
def test_oldest_version_renders(pre: Any, bake: Bakery, tmp_path: Path) -> None:
    """Also a switch, from a file."""
    file = tmp_path / "answers.yaml"
    file.write_text("default_context: {database: neon, migrate_service: false}\n")
    folder = tmp_path / "work"
    folder.mkdir()
    tool = f"cookiecutter@{pre.OLDEST_COOKIECUTTER}"
    options = ("--no-input", "--config-file", str(file), str(ROOT))
    run(folder, "uvx", "--python", sys.executable, tool, *options)
    rendered = tree_of(folder / "my-service")
    assert rendered == bake(**NEON, migrate_service=False).tree()


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("1.7.3", True),
        ("2.6.0", True),
        ("2.7.0", False),
        ("2.10", False),
        ("3.0", False),
    ],
)
def test_version_is_compared_by_its_numbers(pre: Any, version: str, old: bool) -> None:
    found = list(pre.check_cookiecutter(version))
    assert [problem.variable for problem in found] == ["cookiecutter"] * old


def test_command_gets_a_newer_version(pre: Any) -> None:
    problems = list(pre.check_cookiecutter(NEWEST_OLD))
    command = pre.corrected_command(DEFAULTS, problems)
    program, _, rest = command.partition(" --no-input ")
    assert f"'cookiecutter>={pre.GOOD_COOKIECUTTER}'" in program
    assert program.endswith(" && .cookiecutter/bin/cookiecutter")
    assert all(f" {name}=" in rest for name in SWITCHES)


def test_readme_and_hook_name_the_same_versions(pre: Any) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f'"cookiecutter>={pre.GOOD_COOKIECUTTER}"' in readme
    page = (ROOT / "docs" / "render.md").read_text(encoding="utf-8")
    assert f"Cookiecutter {pre.OLDEST_COOKIECUTTER} is the oldest that" in page
