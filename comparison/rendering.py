"""Render the template, and leave nothing else behind."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from cookiecutter.main import cookiecutter

from comparison.answers import ROOT


def render(answers: Mapping[str, object], output_dir: Path) -> Path:
    """Render a project with checked answers into a folder, and return its path.

    The person's own settings and saved answers are neither read nor written. The hooks
    are not run: the answers are checked already, and the closing message is for a
    person who starts a project.
    """
    output_dir.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"cookiecutters_dir": scratch, "replay_dir": scratch}
        project = cookiecutter(
            str(ROOT),
            no_input=True,
            extra_context=dict(answers),
            default_config=folders,
            output_dir=str(output_dir),
            accept_hooks=False,
        )
    return Path(project)
