"""The hooks, loaded, and a folder to render into."""

from pathlib import Path
from typing import Any

import pytest

from tests.rendering.loaded_hooks import DEFAULTS, load


@pytest.fixture(scope="module")
def pre(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the pre_gen_project hook as a module."""
    return load("pre_gen_project", tmp_path_factory.mktemp("hooks"), DEFAULTS)


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the post_gen_project hook as a module."""
    return load("post_gen_project", tmp_path_factory.mktemp("hooks"), DEFAULTS)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return an output folder that has something in it and beside it."""
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    (tmp_path / "beside").mkdir()
    return folder
