"""Linters of what is no Python: workflows, Dockerfiles, SQL and manifests."""

import json
import subprocess
from pathlib import Path

# What squawk finds and a rendered migration does on purpose.
SQL_EXCEPTIONS = {
    "prefer-text-field": "the API's limits are the columns' limits, and Alembic's own table has one",
    "require-statement-timeout": "a migration may take long; what it may not is wait for a lock",
}
# What checkov finds and the rendered manifests do on purpose.
MANIFEST_EXCEPTIONS = {
    "CKV_K8S_11": "a limit of CPU time slows the start and every request, and saves nothing",
    "CKV_K8S_14": "scripts/deploy.sh sets the image",
    "CKV_K8S_15": "PgBouncer's tag does not move",
    "CKV_K8S_35": "the variable is read once, and nobody else sees the process",
    "CKV_K8S_40": "the images' own users; that of the API is 10001 in the Dockerfile",
    "CKV_K8S_43": "a digest is what one may give to scripts/deploy.sh",
    "CKV2_K8S_6": "who may call the service, and where the database is, is not known",
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


def checks_failed_by_manifests(folder: Path) -> dict[str, set[str]]:
    """Return the checks of checkov that each file of a folder fails."""
    command = ["uvx", "checkov>=3.2", "--directory", ".", "--framework", "kubernetes"]
    options = ["--skip-download", "--quiet", "--compact", "--output", "json"]
    completed = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, check=False
    )
    found: dict[str, set[str]] = {}
    for failed in json.loads(completed.stdout)["results"]["failed_checks"]:
        found.setdefault(failed["file_path"].lstrip("/"), set()).add(failed["check_id"])
    return found


def said(folder: Path, *command: str) -> str:
    """Return what a linter prints of what it finds; where it finds nothing, nothing."""
    completed = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if completed.returncode == 0:
        return ""
    output = completed.stdout + completed.stderr
    return f"{command[0]} exits with {completed.returncode}:\n{output}"
