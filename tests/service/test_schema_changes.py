"""A schema that changes under load fails no request.

Stale plans are the business of the driver and of connections that stay open: so each
driver with a queuepool, on a direct server, where statements stay prepared.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import httpx2
import pytest

from lab.copies import replace_once, working_copy
from lab.prepared import chosen
from lab.projects import Bakery, Project
from lab.servers import Database
from lab.services import ServiceEnvironment, running_service
from lab.variants import CHOICES
from lab.waiting import wait_until

pytestmark = pytest.mark.everything

CLIENTS = 6
# Users that all clients create between two changes. Each comes with three more requests,
# and psycopg prepares a statement when a connection runs it for the sixth time.
ROUNDS = 10 * CLIENTS
CHANGES = [
    "ALTER TABLE users ADD COLUMN note text",
    "ALTER TABLE users ALTER COLUMN name TYPE varchar(200)",
    "ALTER TABLE users ALTER COLUMN name TYPE text",
    "ALTER TABLE users ALTER COLUMN id TYPE integer",
    "ALTER TABLE users ALTER COLUMN id TYPE bigint",
    "ALTER TABLE users ALTER COLUMN note SET DEFAULT ''",
    "ALTER TYPE color ADD VALUE 'green'",
    "BEGIN; ALTER TYPE color RENAME TO old_color;"
    " CREATE TYPE color AS ENUM ('red', 'blue');"
    " ALTER TABLE users ALTER COLUMN color TYPE color USING color::text::color;"
    " DROP TYPE old_color; COMMIT",
    "CREATE INDEX CONCURRENTLY ix_users_name ON users (name)",
    "ALTER TABLE users DROP COLUMN note",
    "BEGIN; ALTER TABLE users RENAME TO people;"
    " CREATE VIEW users AS SELECT * FROM people; COMMIT",
    "BEGIN; DROP VIEW users; ALTER TABLE people RENAME TO users; COMMIT",
]

# The service has no column of an enum type, so it gets one.
ENUM = """    color: str = Field(
        default="red", sa_type=Enum("red", "blue", name="color")
    )
    created_at"""
ENUM_COLUMN = (
    "CREATE TYPE color AS ENUM ('red', 'blue');"
    " ALTER TABLE users ADD COLUMN color color NOT NULL"
)

Environments = Callable[[str], ServiceEnvironment]


def work(url: str, client_number: int, stopping: Event) -> Counter[int]:
    """Create, read, list and change until told to stop; count the statuses."""
    statuses: Counter[int] = Counter()
    turn = 0
    with httpx2.Client(base_url=url, timeout=30) as client:
        while not stopping.is_set():
            turn += 1
            email = f"{client_number}-{turn}@example.com"
            created = client.post("/users", json={"name": "Ada", "email": email})
            answers = [created, client.get("/users", params={"limit": 3})]
            if created.is_success:
                path = f"/users/{created.json()['id']}"
                answers += [client.get(path), client.patch(path, json={"name": "Eve"})]
            statuses.update(answer.status_code for answer in answers)
    return statuses


@contextmanager
def load(url: str) -> Iterator[Counter[int]]:
    """Let all clients work while the block runs; the counter is filled at its end."""
    found: Counter[int] = Counter()
    stopping = Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(work, url, n, stopping) for n in range(CLIENTS)]
        try:
            yield found
        finally:
            stopping.set()
        for each in running:
            found.update(each.result())


def wait_for_rounds(database: Database) -> None:
    """Wait until the clients have worked for a while."""
    query = "SELECT count(*) FROM users"
    [(before,)] = database.execute(query)
    wait_until(lambda: database.execute(query)[0][0] >= before + ROUNDS, "work")


def with_enum(project: Project, folder: Path) -> Path:
    """Return a copy of the project whose users have a column of an enum type."""
    path = working_copy(project, folder)
    users = path / "app" / "models" / "user.py"
    replace_once(users, "import Identity,", "import Enum, Identity,")
    text = users.read_text()
    users.write_text(text.replace("    created_at", ENUM, 1))
    return path


def change_under_load(
    path: Path, environment: ServiceEnvironment, database: Database, log: Path
) -> Counter[int]:
    """Serve the project, change the schema under load, and count the statuses."""
    database.execute(ENUM_COLUMN)
    with running_service(environment, path, log, DATABASE_URL=database.url) as service:
        with load(service.url) as statuses:
            for change in CHANGES:
                wait_for_rounds(database)
                database.execute(change)
            wait_for_rounds(database)
        return statuses


@pytest.mark.parametrize("driver", CHOICES["driver"])
def test_schema_changes_fail_no_request(
    bake: Bakery,
    environments: Environments,
    migrated: Callable[[], Database],
    tmp_path: Path,
    driver: str,
) -> None:
    project = with_enum(bake(chosen("postgres", "queuepool", driver)), tmp_path)
    log = tmp_path / "log"
    statuses = change_under_load(project, environments(driver), migrated(), log)
    assert statuses.keys() == {200, 201}, log.read_text()[-3000:]


@pytest.mark.everything
@pytest.mark.parametrize("driver", CHOICES["driver"])
def test_without_repetition_requests_fail(
    bake: Bakery,
    environments: Environments,
    migrated: Callable[[], Database],
    tmp_path: Path,
    driver: str,
) -> None:
    """A negative control: the same changes, with no statement repeated."""
    project = with_enum(bake(chosen("postgres", "queuepool", driver)), tmp_path)
    replace_once(
        project / "app" / "core" / "checks.py", "if not (repeatable", "if not (0"
    )
    statuses = change_under_load(
        project, environments(driver), migrated(), tmp_path / "log"
    )
    assert max(statuses) >= httpx2.codes.INTERNAL_SERVER_ERROR
