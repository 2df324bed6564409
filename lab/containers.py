"""Docker, where a suite needs it."""

import shutil
import subprocess

from lab.commands import run


def docker(
    *arguments: str, check: bool = True, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGUMENTS`; raises AssertionError with its output if it fails."""
    return run(["docker", *arguments], timeout=timeout, check=check)


def missing_part() -> str | None:
    """Say which part of Docker is missing, or return None."""
    if shutil.which("docker") is None:
        return "the docker command is not installed"
    for part in ("info", "compose version", "buildx version"):
        completed = docker(*part.split(), check=False, timeout=60)
        if completed.returncode:
            return f"`docker {part}` failed: {completed.stderr.strip()}"
    return None
