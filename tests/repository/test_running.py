"""How the tests themselves are run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.variants import ROOT

NEEDS_COOKIECUTTER = "test_command_has_every_answer"


@pytest.mark.skipif(os.name == "nt", reason="The PATH is that of a POSIX machine")
def test_programs_are_found_without_an_activated_environment(tmp_path: Path) -> None:
    """As `.venv/bin/python -m pytest` runs them: Cookiecutter is not on the PATH."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-k",
        NEEDS_COOKIECUTTER,
    ]
    completed = subprocess.run(
        [*command, "tests/rendering/test_refused.py"],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in completed.stdout, completed.stdout + completed.stderr
