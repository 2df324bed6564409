"""A commit is checked, as the README says, once pre-commit is installed.

The hooks are the same for every answer.
"""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lab.clones import new_checkout
from lab.commands import run
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

    def commit(message: str, *, check: bool = True) -> CompletedProcess[str]:
        command = ("git", "commit", "--all", f"--message={message}")
        return run(command, folder=path, environment=variables, check=check)

    install = ("uvx", "pre-commit", "install")
    run(install, folder=path, environment=variables)
    main = path / "app" / "main.py"
    main.write_text(f"{main.read_text()}\n# Ours.\n")
    commit("Ours")

    replace_once(main, "# Ours.", "number: int = 'one'")
    bad = commit("Wrong", check=False)
    assert bad.returncode == 1
    assert "Incompatible types in assignment" in bad.stdout + bad.stderr
