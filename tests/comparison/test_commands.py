"""The commands as a person runs them: a clone and uv are all that they need."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.clones import (
    copy_template,
    localised,
    new_checkout,
    page_commands,
    run,
    tagged_template,
)


def test_command_needs_a_clone_and_uv_alone(tmp_path: Path) -> None:
    """`uv run` installs what the script's own header asks for."""
    template = copy_template(tmp_path / "template")
    completed = subprocess.run(
        ["uv", "run", "compare.py", "local-postgres", "serverless-neon", "--exit-code"],
        cwd=template,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1, completed.stderr
    assert "Round trips per request" in completed.stdout
    assert not (template / ".venv").exists()


@pytest.mark.everything
def test_commands_of_the_readme(tmp_path: Path) -> None:
    """Each as it stands there, with a local template: clone, presets, compare."""
    template = tagged_template(tmp_path / "published" / "cookiecutter-fastapi-postgres")
    work = tmp_path / "work"
    work.mkdir()
    clone, *presets = page_commands("docs/environments.md", "# Environments")[:2]
    run(work, "sh", "-ec", localised(clone, template))
    cloned = work / "cookiecutter-fastapi-postgres"
    for command in presets:
        assert "presets/" in command
        run(cloned, "sh", "-ec", localised(command, template))
    assert (work / "my-service" / "docker-compose.yml").is_file()
    new_checkout(work / "my-service")
    commands = page_commands("docs/environments.md", "## Compare")
    assert len(commands) == len(set(commands))
    for command in commands:
        assert command.startswith("uv run compare.py ")
        completed = run(cloned, "sh", "-ec", command)
        assert "differ" in completed.stdout or "--html" in command
    page = (cloned / "drivers.html").read_text(encoding="utf-8")
    assert page.endswith("</html>\n")
