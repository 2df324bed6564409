"""Commands that run to their end, and tell what they printed if they fail."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(  # noqa: PLR0913 (what subprocess.run has as well)
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
    timeout: float = 600,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command, with `text` on its standard input.

    Raises AssertionError with the whole output if `check` is true and it fails.
    """
    completed = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return checked(completed) if check else completed


def checked(
    completed: subprocess.CompletedProcess[str],
) -> subprocess.CompletedProcess[str]:
    """Return what has succeeded; raises AssertionError with the whole output otherwise."""
    if completed.returncode:
        output = f"{completed.stdout}\n{completed.stderr}"
        shown = shlex.join(str(part) for part in completed.args)
        message = f"{shown}: {completed.returncode}\n{output}"
        raise AssertionError(message)
    return completed
