"""The workflows of the template, and those that it renders, are as linters want them."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from lab.copies import replace_once
from lab.linters import faults_of_workflows
from lab.projects import Bakery
from lab.variants import CHOICES, ROOT

PINNED = re.compile(r"^ *-? *uses: (?P<action>\S+)@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
BREAKS = {
    "not-pinned": (r"@[0-9a-f]{40} # v\S+", "@v5", "unpinned-uses"),
    "credentials": ("persist-credentials: false", "clean: true", "artipacked"),
    "no-limit": (r"(?s)concurrency:.*?true\n", "", "concurrency-limits"),
    "no-such-key": ("runs-on:", "runs-in:", "runs-in"),
    "no-cooldown": (r" +cooldown:\n.*\n", "", "dependabot-cooldown"),
}


def used_actions(folder: Path) -> dict[str, str]:
    """Return the line that names each action of a repository's workflows."""
    lines: dict[str, str] = {}
    for file in (folder / ".github" / "workflows").glob("*.yml"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                match = PINNED.match(line)
                assert match, line
                used = line.partition("uses: ")[2]
                assert lines.setdefault(match["action"], used) == used
    return lines


def test_workflows_of_the_template_are_clean() -> None:
    assert faults_of_workflows(ROOT) == ""


@pytest.mark.parametrize("database", CHOICES["database"])
def test_rendered_workflows_are_clean(bake: Bakery, database: str) -> None:
    assert faults_of_workflows(bake(database=database).path) == ""


def test_rendered_workflows_use_what_the_template_uses(bake: Bakery) -> None:
    """Dependabot raises the template's own: the rendered ones have to follow."""
    rendered = used_actions(bake().path)
    assert rendered
    assert rendered.items() <= used_actions(ROOT).items()


def test_unrendered_workflows_are_yaml() -> None:
    """So that tools can read them, and a person's editor."""
    folder = ROOT / "{{cookiecutter.project_slug}}" / ".github" / "workflows"
    for file in folder.glob("*.yml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]


@pytest.mark.parametrize("name", BREAKS)
def test_fault_of_a_workflow_is_found(name: str, tmp_path: Path) -> None:
    old, new, rule = BREAKS[name]
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    changed = 0
    for file in (tmp_path / ".github").rglob("*.yml"):
        text, count = re.subn(old, new, file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
        changed += count
    assert changed
    assert rule in faults_of_workflows(tmp_path)


@pytest.mark.everything
def test_another_version_of_an_action_is_found(bake: Bakery, tmp_path: Path) -> None:
    shutil.copytree(bake().path / ".github", tmp_path / ".github")
    workflow = tmp_path / ".github" / "workflows" / "ci.yml"
    replace_once(workflow, "astral-sh/setup-uv@2", "astral-sh/setup-uv@3")
    assert not used_actions(tmp_path).items() <= used_actions(ROOT).items()
