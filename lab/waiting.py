"""Wait for what another process does."""

import time
from collections.abc import Callable

WAIT_SECONDS = 90  # Generous: a busy machine is no fault.
PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS
) -> None:
    """Wait for `condition`; raises TimeoutError that names `what` was waited for.

    It is asked the less often the longer it takes, for many a condition is a program. One
    that does not stay true may be missed.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            message = f"not within {seconds} s: {what}"
            raise TimeoutError(message)
        time.sleep(min(max(PAUSE_SECONDS, waited / 10), LONGEST_PAUSE_SECONDS))
