"""What the README shows for code outside of a request works under load.

Sessions and connections are decided by the driver and by the pool: each value of both
occurs once, on a direct server.
"""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from lab.migrations import migrate
from lab.prepared import chosen
from lab.servers import Database, Server
from lab.services import ServiceEnvironment, running_service
from lab.variants import Variant
from lab.waiting import wait_until

pytestmark = pytest.mark.everything

SOCKETS = Path(__file__).parent / "probes" / "sockets.py"
CONNECTIONS = 15
AT_ONCE = 2 * CONNECTIONS
USERS = 3


def add_examples(path: Path) -> None:
    """Add the README's module to the service, and its router to the application."""
    blocks = re.findall(
        r"```python\n(.*?)```", (path / "README.md").read_text(), re.DOTALL
    )
    [examples] = [block for block in blocks if "APIRouter()" in block]
    (path / "app" / "routers" / "examples.py").write_text(examples)
    main = path / "app" / "main.py"
    text = main.read_text().replace("import health,", "import examples, health,")
    main.write_text(f"{text}app.include_router(examples.router)\n")


def backend_states(database: Database) -> list[str]:
    """Return the states of the server's connections to the database."""
    query = (
        "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return [str(state) for (state,) in database.execute(query)]


@pytest.mark.parametrize(
    "variant",
    [
        chosen("postgres", "nullpool", "psycopg"),
        chosen("postgres", "queuepool", "asyncpg"),
    ],
    ids=str,
)
def test_examples_under_load(
    variant: Variant,
    environment: ServiceEnvironment,
    path: Path,
    postgres: Server,
    tmp_path: Path,
) -> None:
    add_examples(path)
    environment.run(path, "ruff", "check", "app/main.py")
    environment.check_types(path, "app")
    database = postgres.create_database()
    migrate(path, environment, database)
    limits = httpx2.Limits(max_connections=None)
    with (
        running_service(
            environment,
            path,
            tmp_path / "log",
            DATABASE_URL=database.url,
            DB_MAX_CONNECTIONS=str(CONNECTIONS),
            DB_POOL_TIMEOUT="5",
        ) as service,
        httpx2.Client(base_url=service.url, timeout=30, limits=limits) as client,
        subprocess.Popen(
            [
                environment.python,
                SOCKETS,
                service.url.replace("http:", "ws:") + "/count",
                str(AT_ONCE),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as sockets,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        assert sockets.stdout
        assert sockets.stdout.readline() == "open\n"

        def at_once(method: str, paths: list[str]) -> set[int]:
            answers = threads.map(lambda path: client.request(method, path), paths)
            return {answer.status_code for answer in answers}

        for number in range(USERS):
            user = {"name": "Ada", "email": f"{number}@example.com"}
            client.post("/users", json=user)
        names = [f"team-{number}" for number in range(AT_ONCE)]
        assert at_once("POST", [f"/later/{name}" for name in names]) == {202}
        count = "SELECT count(*) FROM teams"
        wait_until(lambda: database.execute(count) == [(AT_ONCE,)], "the tasks")
        assert at_once("GET", ["/names"] * AT_ONCE) == {200}
        assert sorted(client.get("/names").text.split()) == sorted(names)

        listing = threads.submit(at_once, "GET", ["/users"] * AT_ONCE)
        job = environment.run(
            path, "app.jobs.delete_empty_teams", DATABASE_URL=database.url
        )
        assert f"deleted {AT_ONCE} teams" in job.stderr
        assert listing.result() == {200}

        answers, _ = sockets.communicate("\n", timeout=30)
        assert answers.splitlines() == [f"{USERS} users"] * AT_ONCE
        pooled = CONNECTIONS if variant.pool == "queuepool" else 0
        left = backend_states(database)
        assert set(left) <= {"idle"}
        assert len(left) <= pooled
    assert "Traceback" not in (tmp_path / "log").read_text()
