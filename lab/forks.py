"""Programs of a service that start as forks of a Python that has its packages.

To import them takes most of the time of a short command, and as long as to start a
service. What is the service's own, each program imports itself.
"""

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

SERVER = Path(__file__).with_name("forking.py")


class Fork:
    """A program that was started: the part of `subprocess.Popen` that tests need."""

    def __init__(self, args: Sequence[str], channel: socket.socket) -> None:
        """Read the number of the process; its exit code will come by the channel."""
        self.args = args
        self.returncode: int | None = None
        self._channel = channel
        self._lines = channel.makefile()
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        """Return the exit code, if the program has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raises TimeoutExpired if the program goes on."""
        if self.returncode is None:
            readable, _, _ = select.select([self._channel], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._lines.readline())
            self._lines.close()
            self._channel.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the program, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class ForkingPython:
    """The Python of a virtual environment, with the packages; it ends with this process."""

    def __init__(self, python: Path, environment: Mapping[str, str]) -> None:
        """Start it."""
        self._requests, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [python, "-P", SERVER, str(its.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        output: IO[Any],
        errors: IO[Any],
    ) -> Fork:
        """Start `python -m COMMAND` in a folder; it writes to these two files."""
        ours, its = socket.socketpair()
        with its:
            files = [its.fileno(), output.fileno(), errors.fileno()]
            socket.send_fds(self._requests, [b"!"], files)
        request = {
            "command": command,
            "folder": str(folder),
            "environment": dict(environment),
        }
        ours.sendall(json.dumps(request).encode() + b"\n")
        return Fork(command, ours)

    def close(self) -> None:
        """Let it end; its forks go on."""
        self._requests.close()
        self._process.wait()
