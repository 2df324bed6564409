"""Linters of what is no Python: workflows, Dockerfiles and the SQL of migrations."""

import subprocess
from pathlib import Path

# What squawk finds and a rendered migration does on purpose.
SQL_EXCEPTIONS = {
    "prefer-text-field": "the API's limits are the columns' limits, and Alembic's own table has one",
    "require-statement-timeout": "a migration may take long; what it may not is wait for a lock",
}


def faults_of_workflows(folder: Path) -> str:
    """Return what zizmor and actionlint say of a repository's workflows."""
    workflows = sorted((folder / ".github" / "workflows").glob("*.yml"))
    assert workflows
    return said(
        folder,
        *("zizmor", "--offline", "--quiet", "--no-progress", "--color=never"),
        *("--persona=pedantic", "--strict-collection", ".github"),
    ) + said(folder, "actionlint", "-no-color", *map(str, workflows))


def faults_of_dockerfile(folder: Path) -> str:
    """Return what hadolint says of a project's Dockerfile."""
    return said(folder, "hadolint", "--no-color", "Dockerfile")


def faults_of_sql(sql: str, folder: Path) -> str:
    """Return what squawk says of a migration's SQL."""
    (folder / "migration.sql").write_text(sql)
    exceptions = ",".join(SQL_EXCEPTIONS)
    options = ("--reporter=gcc", f"--exclude={exceptions}")
    return said(folder, "squawk", *options, "migration.sql")


def said(folder: Path, *command: str) -> str:
    """Return what a linter prints of what it finds; where it finds nothing, nothing."""
    completed = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if completed.returncode == 0:
        return ""
    output = completed.stdout + completed.stderr
    return f"{command[0]} exits with {completed.returncode}:\n{output}"
