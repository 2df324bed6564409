"""A commit is checked, as the README says, once pre-commit is installed.

The hooks are the same for every answer.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.clones import new_checkout
from lab.copies import replace_once, working_copy
from lab.projects import Bakery
from lab.services import ServiceEnvironment, clean_environment
from lab.variants import VARIANTS

pytestmark = pytest.mark.everything


def test_commit_is_checked(
    bake: Bakery, environments: Callable[[str], ServiceEnvironment], tmp_path: Path
) -> None:
    variant = VARIANTS[0]
    environment = environments(variant.driver)
    path = new_checkout(working_copy(bake(variant), tmp_path))
    assert "`pre-commit install`" in (path / "README.md").read_text()
    own = {"UV_PROJECT_ENVIRONMENT": str(environment.path), "UV_NO_SYNC": "1"}
    names = {"GIT_AUTHOR_NAME": "Ada", "GIT_COMMITTER_NAME": "Ada"}
    emails = dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example.com")
    home = {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit")}
    variables = clean_environment(environment, own | names | emails | home)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    installed = run("uvx", "pre-commit", "install")
    assert installed.returncode == 0, installed.stderr
    main = path / "app" / "main.py"
    main.write_text(f"{main.read_text()}\n# Ours.\n")
    good = run("git", "commit", "--all", "--message=Ours")
    assert good.returncode == 0, good.stdout + good.stderr

    replace_once(main, "# Ours.", "number: int = 'one'")
    bad = run("git", "commit", "--all", "--message=Wrong")
    assert bad.returncode == 1
    assert "Incompatible types in assignment" in bad.stdout + bad.stderr
