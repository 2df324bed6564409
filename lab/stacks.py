"""Rendered projects that run under Docker Compose, as their README says."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from lab.commands import run
from lab.containers import docker, postgres_container
from lab.pages import shell_blocks
from lab.servers import free_port

WAIT_SECONDS = 90
# What a stack reads from `.env` must not come from the person's environment.
SETTINGS = re.compile(r"COMPOSE_|NEON_|SUPABASE_|POSTGRES_|DB_PORT$|API_PORT$")
NEVER_STARTED = "0001-01-01T00:00:00Z"
DETACHED = ("--detach", "--wait")


class Stack:
    """A project under Docker Compose, with ports of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        """Use the project in `folder`, which gets a `.env`, under a name of its own."""
        self.folder = folder
        self.name = name
        self.api_port = free_port()
        self.db_port = free_port()

    def command(
        self, *command: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, with no settings but those in its `.env`."""
        return run(
            command,
            folder=self.folder,
            environment=environment(),
            text="",
            timeout=300,
            check=check,
        )

    def compose(
        self, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose ARGUMENTS` in the project."""
        return self.command("docker", "compose", *arguments, check=check)

    def readme_commands(self) -> list[list[str]]:
        """Return the commands of the README's quick start, up to the stack that runs.

        `docker compose up` is given the options that make it return.
        """
        lines = [
            shlex.split(line)
            for block in shell_blocks(self.folder / "README.md", "## Quick start")
            for line in block.splitlines()
            if line.startswith(("cp ", "docker "))
        ]
        return [
            [*line, *DETACHED] if line[:3] == ["docker", "compose", "up"] else line
            for line in lines
        ]

    def configure(self, **settings: str | None) -> None:
        """Copy `.env.example` to `.env` as the README says, then change settings.

        The name and the ports become the stack's own. None removes a setting.
        """
        self.command("cp", ".env.example", ".env")
        path = self.folder / ".env"
        ports = {"API_PORT": str(self.api_port)}
        if "DB_PORT=" in path.read_text(encoding="utf-8"):
            ports["DB_PORT"] = str(self.db_port)
        for name, value in {**ports, **settings}.items():
            replace_setting(path, name, value)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"COMPOSE_PROJECT_NAME={self.name}\n")

    def start(self) -> None:
        """Run the README's commands after `configure`."""
        copy, *commands = self.readme_commands()
        assert copy == ["cp", ".env.example", ".env"]
        assert commands
        for command in commands:
            self.command(*command)

    def up(self, *options: str) -> None:
        """Start the stack and wait until it is healthy."""
        self.compose(*options, "up", "--build", *DETACHED)

    def remove(self) -> None:
        """Remove the stack's containers, networks and volumes."""
        options = ("--volumes", "--remove-orphans", "--timeout", "1")
        self.compose("--profile", "migrate", "down", *options, check=False)

    def container(self, service: str) -> dict[str, Any]:
        """Return what Docker knows about a service's container."""
        identifier = self.compose("ps", "--all", "--quiet", service).stdout.strip()
        inspected: list[dict[str, Any]] = json.loads(
            docker("inspect", identifier).stdout
        )
        return inspected[0]

    def services(self) -> set[str]:
        """Return the services that have a container, running or not."""
        return set(self.compose("ps", "--all", "--services").stdout.split())

    def started(self, service: str) -> bool:
        """Tell whether a service's container was ever started."""
        if service not in self.services():
            return False
        started: str = self.container(service)["State"]["StartedAt"]
        return started != NEVER_STARTED

    def healthy(self) -> bool:
        """Tell whether Docker takes the API for healthy."""
        status: str = self.container("api")["State"]["Health"]["Status"]
        return status == "healthy"

    def logs(self, service: str) -> str:
        """Return what a service has logged."""
        return self.compose("logs", "--no-log-prefix", service, check=False).stdout

    def variable(self, name: str) -> str:
        """Return an environment variable as the API's container has it."""
        options = ("--rm", "--no-deps")
        return self.compose("run", *options, "api", "printenv", name).stdout.strip()

    def client(self) -> httpx2.Client:
        """Return an HTTP client of the API."""
        url = f"http://127.0.0.1:{self.api_port}"
        return httpx2.Client(base_url=url, timeout=30, trust_env=False)

    def create_users(self, *names: str) -> list[dict[str, Any]]:
        """Create users over HTTP, and return them as the API does."""
        with self.client() as client:
            responses = [
                client.post("/users", json={"name": name, "email": f"{name}@a.example"})
                for name in names
            ]
        statuses = [response.status_code for response in responses]
        assert set(statuses) == {201}, f"{statuses}\n{self.logs('api')}"
        return [response.json() for response in responses]

    def users(self) -> list[dict[str, Any]]:
        """Read all users over HTTP: as a list, and one by one, which must agree."""
        with self.client() as client:
            response = client.get("/users", params={"limit": 100})
            assert response.status_code == httpx2.codes.OK, response.text
            users: list[dict[str, Any]] = response.json()
            assert users == [client.get(f"/users/{u['id']}").json() for u in users]
        return users


def environment() -> dict[str, str]:
    """Return this process's environment without the settings of a stack."""
    return {name: text for name, text in os.environ.items() if not SETTINGS.match(name)}


def replace_setting(path: Path, name: str, value: str | None) -> None:
    """Give a setting of an `.env` file, which must be there, a value, or remove it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    (number,) = (i for i, line in enumerate(lines) if line.startswith(f"{name}="))
    lines[number : number + 1] = [] if value is None else [f"{name}={value}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def running_stack(folder: Path, name: str) -> Iterator[Stack]:
    """Return the stack of a project, and remove what it started at the end."""
    stack = Stack(folder, name)
    try:
        yield stack
    finally:
        if (folder / ".env").exists():
            stack.remove()


@contextmanager
def hosted_stand_in(network: str, password: str) -> Iterator[tuple[str, str]]:
    """Run a plain Postgres as `NETWORK-pooler` and as `NETWORK`, on that network.

    Yields the two URLs, which hold the password as it is.
    """
    hosts = (f"{network}-pooler", network)
    aliases = [f"--network-alias={host}" for host in hosts]
    options = (f"--network={network}", *aliases)
    with postgres_container(network, *options, password=password):
        pooled, direct = (f"postgresql://app:{password}@{host}/app" for host in hosts)
        yield pooled, direct
