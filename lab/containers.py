"""Docker, where a suite needs it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from lab.commands import run
from lab.waiting import wait_until


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


@contextmanager
def docker_network(name: str) -> Iterator[str]:
    """Create a network of that name, and remove it at the end."""
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name, check=False)


def address(container: str, network: str = "bridge") -> str:
    """Return the address that a container has on a network."""
    form = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return docker("inspect", f"--format={form}", container).stdout.strip()


@contextmanager
def postgres_container(
    name: str, *options: str, version: str = "17", user: str = "app", password: str
) -> Iterator[None]:
    """Run PostgreSQL in a container of that name until the block ends.

    `options` go to `docker run`. The database has the user's name.
    """
    account = {"USER": user, "PASSWORD": password, "DB": user}
    variables = [f"--env=POSTGRES_{key}={value}" for key, value in account.items()]
    check = ("exec", name, "pg_isready", "-h", "127.0.0.1", "-U", user)
    try:
        docker(
            *("run", "--detach", f"--name={name}", *variables),
            *(*options, f"postgres:{version}"),
        )
        wait_until(lambda: docker(*check, check=False).returncode == 0, "PostgreSQL")
        yield
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
