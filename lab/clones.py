"""Clones of the template, as a person has them, and the commands of its pages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab import commands
from lab.pages import section, shell_blocks
from lab.variants import QUESTIONS, ROOT

TEMPLATE_PARTS = (
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "compare.py",
    "comparison",
    "cookiecutter.json",
    "hooks",
    "presets",
    "pyproject.toml",
    "templates",
    "{{cookiecutter.project_slug}}",
)
IGNORED = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv", "uv.lock")
VERSION = f"v{QUESTIONS['_template_version']}"
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}
PUBLISHED = re.compile(r"(https://github\.com/|gh:)OWNER/([a-z-]+?)(\.git)?(?=\s|$)")


def copy_template(folder: Path) -> Path:
    """Copy the template, without what a clone would not have."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEMPLATE_PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=IGNORED)
        else:
            shutil.copy(source, folder / name)
    return folder


def tagged_template(folder: Path) -> Path:
    """Make a git repository of the template, tagged with its version."""
    copy_template(folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "The template")
    git(folder, "tag", VERSION)
    return folder


def quiet_environment(home: Path) -> dict[str, str]:
    """Return an environment in which tools know nothing of the person."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "COOKIECUTTER_CONFIG", "FORCE_COLOR")
    }
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    folders = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "TMPDIR": str(home),
        "PATH": search,
    }
    return kept | folders | IDENTITY


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints; raises if it fails."""
    return run(folder, "git", *arguments).stdout


def commit(folder: Path, message: str) -> None:
    """Commit everything."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def new_checkout(folder: Path) -> Path:
    """Make a git repository of a project, with everything committed."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "Rendered")
    return folder


def run(
    folder: Path, *command: str, check: bool = True, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with `text` on its standard input."""
    return commands.run(
        command,
        folder=folder,
        environment=quiet_environment(folder.parent),
        text=text,
        check=check,
    )


def page_commands(page: str, heading: str) -> list[str]:
    """Return the commands of a section's shell blocks, line by line."""
    blocks = shell_blocks(ROOT / page, heading)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def clone_commands(page: str, heading: str) -> list[str]:
    """Return the commands of a section's text that name a clone of the template."""
    commands = re.findall(r"`([^`\n]+)`", section(ROOT / page, heading))
    return [
        each
        for each in commands
        if "/cookiecutter-fastapi-postgres" in each and "OWNER" not in each
    ]


def localised(command: str, template: Path) -> str:
    """Return a command of a page with a local template for the published one."""
    return PUBLISHED.sub(lambda _: str(template), command)
