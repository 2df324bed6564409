"""Rendered services that run: their environments, their commands, their processes."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from lab.commands import checked
from lab.forks import Fork, ForkingPython
from lab.servers import free_port

START_SECONDS = 30
# Variables that a shell may have for something else.
FOREIGN = (
    "DEBUG",
    "FORWARDED_ALLOW_IPS",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "VIRTUAL_ENV",
    "WEB_CONCURRENCY",
)


Process = subprocess.Popen[Any] | Fork


@dataclass(frozen=True)
class ServiceEnvironment:
    """A virtual environment with what a rendered `pyproject.toml` asks for.

    The modules in `forks` start as forks of a Python that has the packages.
    """

    path: Path
    forks: frozenset[str] = frozenset()

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.path / "bin" / "python"

    def start(
        self,
        project: Path,
        *command: str,
        output: IO[Any],
        errors: IO[Any],
        **variables: str,
    ) -> Process:
        """Start `python -m COMMAND` in the project, with `variables` set."""
        environment = clean_environment(self, variables)
        if command[0] in self.forks:
            python = forking_python(self.path)
            return python.start(command, project, environment, output, errors)
        return subprocess.Popen(
            [self.python, "-m", *command],
            cwd=project,
            env=environment,
            stdout=output,
            stderr=errors,
        )

    def run(
        self,
        project: Path,
        *command: str,
        check: bool = True,
        timeout: float = 300,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m COMMAND` in the project, with `variables` set.

        Raises AssertionError with the whole output if `check` is true and the
        command fails.
        """
        with (
            tempfile.TemporaryFile("w+") as output,
            tempfile.TemporaryFile("w+") as errors,
        ):
            process = self.start(
                project, *command, output=output, errors=errors, **variables
            )
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
                process.wait()
            written = [file.read() for file in (output, errors) if not file.seek(0)]
        completed = subprocess.CompletedProcess(
            [str(self.python), "-m", *command], code, *written
        )
        return checked(completed) if check else completed

    def check_types(
        self, project: Path, *paths: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run mypy, which keeps for the next project what it finds of the packages."""
        with FileLock(self.path / "mypy.lock"):
            cache = ("--cache-dir", str(self.path / "mypy"))
            return self.run(project, "mypy", *cache, *paths, check=check)

    def run_script(self, script: str, *arguments: str, **variables: str) -> None:
        """Run a Python script that is given as text, with `variables` set."""
        subprocess.run(
            [self.python, "-c", script, *arguments],
            env=clean_environment(self, variables),
            check=True,
        )


@cache
def forking_python(path: Path) -> ForkingPython:
    """Return the Python that forks for the environment at `path`, which starts once."""
    environment = ServiceEnvironment(path)
    return ForkingPython(environment.python, clean_environment(environment, {}))


def clean_environment(
    environment: ServiceEnvironment, variables: Mapping[str, str]
) -> dict[str, str]:
    """Return this process's environment without settings of other projects.

    Python caches what it compiles in the virtual environment, and so leaves nothing in
    the project, whatever the person's shell has set.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(
            ("DATABASE_URL", "TEST_DATABASE", "DB_", "OTEL_", "PG", "PYTEST_XDIST")
        )
        and name not in FOREIGN
    }
    own = {
        "PATH": f"{environment.path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPYCACHEPREFIX": str(environment.path / "pycache"),
    }
    return inherited | own | dict(variables)


def install(project: Path, path: Path, *options: str) -> ServiceEnvironment:
    """Install what `project` asks for, with `uv sync`, into an environment at `path`.

    It has this process's Python. `options` go to `uv sync`. No lock file is left in the
    project.
    """
    subprocess.run(
        ["uv", "sync", "--quiet", "--python", sys.executable, *options],
        cwd=project,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        | {"UV_PROJECT_ENVIRONMENT": str(path)},
        check=True,
    )
    (project / "uv.lock").unlink(missing_ok=True)
    return ServiceEnvironment(path)


def lift_upper_bounds(project: Path) -> None:
    """Let the dependencies of `project` be as new as they come."""
    pyproject = project / "pyproject.toml"
    pyproject.write_text(re.sub(r",<[0-9.]+(?=\")", "", pyproject.read_text()))


class RunningService:
    """A service that uvicorn serves on a port of the loopback device."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        """Wrap a process that was started already."""
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    def wait_until_live(self) -> None:
        """Wait for the liveness probe; raises RuntimeError with the log otherwise."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health/live", timeout=2).close()
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self, signal_number: int = signal.SIGTERM, timeout: float = 40) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(timeout)


@contextmanager
def running_service(
    environment: ServiceEnvironment,
    project: Path,
    log: Path,
    *options: str,
    **variables: str,
) -> Iterator[RunningService]:
    """Serve the project with uvicorn, `options` and `variables`; stop it at the end."""
    port = free_port()
    command = ("uvicorn", "app.main:app", "--port", str(port), *options)
    with log.open("ab") as output:
        process = environment.start(
            project, *command, output=output, errors=output, **variables
        )
    service = RunningService(process, port, log)
    try:
        service.wait_until_live()
        yield service
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
