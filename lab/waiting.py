"""Wait for what another process does."""

import time
from collections.abc import Callable

WAIT_SECONDS = 90  # Generous: a busy machine is no fault.
PAUSE_SECONDS = 0.05


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS
) -> None:
    """Wait for `condition`; raises TimeoutError that names `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"not within {seconds} s: {what}"
            raise TimeoutError(message)
        time.sleep(PAUSE_SECONDS)
