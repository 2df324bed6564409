"""Load from wrk, https://github.com/wg/wrk, which measures each request."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

SCRIPT = Path(__file__).with_name("users.lua")
USERS = 1000  # Rows in the table of users.
SUCCESSES = {"200", "201"}

_runs = count(1)


@dataclass(frozen=True)
class Load:
    """What clients saw. Times are in milliseconds."""

    seconds: float
    p50: float
    p99: float
    longest: float
    statuses: dict[str, int]
    broken: int  # Connections that failed, and requests without an answer in time.

    @property
    def succeeded(self) -> int:
        """How many requests had the answer that they asked for."""
        return sum(n for status, n in self.statuses.items() if status in SUCCESSES)

    @property
    def failed(self) -> int:
        """How many requests had another answer, or none."""
        return sum(self.statuses.values()) - self.succeeded + self.broken

    @property
    def rate(self) -> float:
        """Successful requests per second."""
        return self.succeeded / self.seconds


def require_wrk() -> None:
    """Exit with the remedy if wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit(
            "This benchmark needs wrk, which is not installed. Install it with"
            " `apt-get install wrk` or `brew install wrk`."
        )


def load(
    url: str, operation: str, *, clients: int, seconds: int, path: str = "/users/"
) -> Load:
    """Send requests for some time: `read` (below `path`), `list` or `write`.

    Every client sends its next request when it has the answer to the last.
    """
    run = f"run{next(_runs)}"
    completed = subprocess.run(
        [
            "wrk",
            *("--threads", "1", "--connections", str(clients)),
            *("--duration", f"{seconds}s", "--timeout", "120s"),
            *("--script", SCRIPT, url, "--", operation, str(USERS), run, path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return Load(**json.loads(completed.stdout.splitlines()[-1]))
