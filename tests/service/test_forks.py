"""A program that starts as a fork finds and tells what it does as a process of its own.

Each driver, whose packages the Python that forks has imported.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.forks import ForkingPython
from lab.prepared import DRIVERS
from lab.services import ServiceEnvironment
from tests.service.probing import PROBES

END_SECONDS = 60


@pytest.fixture(params=DRIVERS)
def forking(
    request: pytest.FixtureRequest,
    environments: Callable[[str], ServiceEnvironment],
) -> ServiceEnvironment:
    """Return an environment in which what these tests start is forked."""
    forks = frozenset({"surroundings", "http.server"})
    return replace(environments(request.param), forks=forks)


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [("0", 0, ""), ("3", 3, ""), ('"a reason"', 1, "a reason\n")],
)
def test_it_finds_and_tells_the_same(
    forking: ServiceEnvironment, tmp_path: Path, end: str, code: int, said: str
) -> None:
    def look(environment: ServiceEnvironment) -> subprocess.CompletedProcess[str]:
        return environment.run(
            tmp_path,
            *("surroundings", end, "an argument"),
            check=False,
            PYTHONPATH=str(PROBES),
            A_VARIABLE="is set",
        )

    fork, process = look(forking), look(replace(forking, forks=frozenset()))

    assert surroundings(fork) == surroundings(process)
    assert surroundings(fork)["environment"]["A_VARIABLE"] == "is set"
    assert fork.stderr == process.stderr == f"an error\n{said}"
    assert fork.returncode == process.returncode == code


def test_it_has_nothing_from_the_environment_of_the_python_that_forks(
    forking: ServiceEnvironment, tmp_path: Path
) -> None:
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROBES)}
    python = ForkingPython(forking.python, own | {"LEFT_BEHIND": "a secret"})
    with closing(python), (tmp_path / "log").open("w+") as log:
        fork = python.start(("surroundings", "0"), tmp_path, own, log, log)
        assert fork.wait(END_SECONDS) == 0
        log.seek(0)
        _, found = log.read().splitlines()
        assert json.loads(found)["environment"] == own


def surroundings(completed: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what the probe has found."""
    found: dict[str, Any] = json.loads(completed.stdout)
    return found


def test_it_ends_by_a_signal_or_after_its_time(
    forking: ServiceEnvironment, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w+") as log:
        process = forking.start(tmp_path, "http.server", "0", output=log, errors=log)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == -signal.SIGTERM
        process.kill()
        assert process.poll() == -signal.SIGTERM
    with pytest.raises(subprocess.TimeoutExpired):
        forking.run(tmp_path, "http.server", "0", timeout=0.5)
