"""What the README's section on extending shows is enough.

The files that it changes are the same in every service, but for how settings pool.
"""

import re
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from lab.copies import replace_once
from lab.prepared import chosen
from lab.servers import Database
from lab.services import ServiceEnvironment, running_service
from lab.waiting import wait_until

ORIGINS = ("https://a.example", "https://b.example")


def section(path: Path) -> str:
    """Return the README's section."""
    text = (path / "README.md").read_text()
    return text.split("## Extend\n")[1].split("\n## ")[0]


@pytest.mark.everything
@pytest.mark.parametrize(
    "variant", [chosen("postgres", "queuepool", "psycopg")], ids=str
)
def test_setting_and_cors_in_two_processes(
    environment: ServiceEnvironment, path: Path, migrated: Callable[[], Database]
) -> None:
    [setting] = re.findall(r"`(\w+: tuple\[.*?)`", section(path))
    [lines] = re.findall(r"```python\n(.*?)  ```", section(path), re.DOTALL)
    last = "    debug: bool = False\n"
    replace_once(path / "app/core/config.py", last, f"{last}    {setting}\n")
    with (path / "app/main.py").open("a") as main:
        main.write(re.sub("^  ", "", lines, flags=re.MULTILINE))
    environment.check_types(path, "app")
    environment.run(path, "ruff", "check", "app/core")

    log = path.parent / "log"
    variables = {"CORS_ORIGINS": ", ".join(ORIGINS), "WEB_CONCURRENCY": "2"}
    with (
        running_service(
            environment, path, log, DATABASE_URL=migrated().url, **variables
        ) as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        for origin in ORIGINS:
            answer = client.get("/users", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
        answer = client.get("/users", headers={"Origin": "https://c.example"})
        assert "access-control-allow-origin" not in answer.headers
        started = "Started server process"
        wait_until(lambda: log.read_text().count(started) == 2, "two processes")
        assert service.stop() == 0
