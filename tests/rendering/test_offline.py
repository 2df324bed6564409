"""Without a network, Cookiecutter renders from a clone and loses its own copy."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from lab.clones import run, tagged_template
from lab.projects import Bakery, tree_of
from lab.variants import ROOT


@pytest.fixture
def cookiecutter(tmp_path: Path) -> tuple[str, ...]:
    """Return a command that keeps its copies of templates in a folder of the test."""
    names = ("cookiecutters_dir", "replay_dir")
    settings = {name: str(tmp_path / name) for name in names}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    options = ("--no-input", "--config-file", str(tmp_path / "settings.yaml"))
    return (sys.executable, "-m", "cookiecutter", *options)


def test_copy_is_lost_and_a_clone_renders(
    cookiecutter: tuple[str, ...], bake: Bakery, tmp_path: Path
) -> None:
    published = tagged_template(tmp_path / "published")
    address = f"git+{published.as_uri()}"
    copy = tmp_path / "cookiecutters_dir" / "published"
    work = tmp_path / "work"
    work.mkdir()
    run(work, *cookiecutter, "--output-dir", "first", address)
    assert copy.is_dir()
    clone = tmp_path / "clone"
    shutil.move(published, clone)
    refused = run(work, *cookiecutter, address, check=False)
    assert refused.returncode == 1
    assert not copy.exists()
    run(work, *cookiecutter, "--output-dir", "second", str(clone))
    assert tree_of(work / "second" / "my-service") == bake().tree()


def test_page_says_so() -> None:
    page = (ROOT / "docs" / "render.md").read_text(encoding="utf-8")
    assert "With `--no-input` it deletes its copy of the template" in page
