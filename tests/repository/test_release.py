"""A finished version that has no tag is tagged and published, and nothing else is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.copies import replace_once
from lab.release import UNRELEASED, VERSION, notes, part
from lab.variants import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="The script is for Bash")

CHANGELOG = f"""# Changelog

## {VERSION}

- Something `new`.

## 0.0.1

The first.
"""
PARTS = (".ci", "lab", "cookiecutter.json")
# Stands for GitHub's program: it has the tags of a file, and keeps what it is told.
GH = """#!/bin/sh
case $1 in
  api) grep -qx "${3##*/}" tags ;;
  *) printf '%s\\n' "$@" >told ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the changelog above, and a `gh` that knows of no tag."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    (folder / "tags").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(GH)
    (tmp_path / "bin" / "gh").chmod(0o755)
    return folder


def release(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run what CI runs."""
    search = f"{checkout.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    github = {"GITHUB_REPOSITORY": "someone/template", "GITHUB_SHA": "4f1c"}
    return subprocess.run(
        [checkout / ".ci" / "release"],
        env=os.environ | github | {"PATH": search},
        capture_output=True,
        text=True,
        check=False,
    )


def told(checkout: Path) -> list[str]:
    """Return what `gh` was told, a line each."""
    file = checkout / "told"
    return file.read_text().splitlines() if file.exists() else []


def test_version_without_a_tag_is_released(checkout: Path) -> None:
    completed = release(checkout)
    assert completed.returncode == 0, completed.stderr
    start = ["release", "create", f"v{VERSION}", "--target", "4f1c", "--title", VERSION]
    assert told(checkout)[: len(start)] == start
    assert told(checkout)[len(start)] == "--notes"
    assert "- Something `new`." in told(checkout)
    assert "The first." not in told(checkout)


def test_version_with_a_tag_is_left_alone(checkout: Path) -> None:
    (checkout / "tags").write_text(f"v{VERSION}\n")
    assert "has a tag" in release(checkout).stdout
    assert told(checkout) == []


def test_unfinished_version_is_not_released(checkout: Path) -> None:
    changelog = checkout / "CHANGELOG.md"
    replace_once(
        changelog, "# Changelog\n", f"# Changelog\n\n## {UNRELEASED}\n\n- More.\n"
    )
    assert "unreleased" in release(checkout).stdout
    assert told(checkout) == []


def test_version_that_the_changelog_does_not_have_fails(checkout: Path) -> None:
    replace_once(checkout / "CHANGELOG.md", f"## {VERSION}\n", "## 9.9.9\n")
    completed = release(checkout)
    assert completed.returncode != 0
    assert f"CHANGELOG.md says nothing of {VERSION}" in completed.stderr
    assert told(checkout) == []


def test_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert notes(changelog)
    assert part(changelog, "9.9.9") == ""
