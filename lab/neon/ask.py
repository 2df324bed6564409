"""Serve the service in its container, ask for its users once, print the status.

The service's log goes to standard output and error.
"""

import subprocess
import time
import urllib.error
import urllib.request

ADDRESS = "http://127.0.0.1:8000"


def status(path: str) -> int | None:
    """Return the status of a response, or None without one."""
    try:
        with urllib.request.urlopen(f"{ADDRESS}{path}", timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


service = subprocess.Popen(["uvicorn", "app.main:app", "--port", "8000"])
while service.poll() is None and status("/health/live") is None:
    time.sleep(0.1)
print("users:", status("/users"), flush=True)
service.terminate()
service.wait()
