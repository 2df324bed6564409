"""Requests that are odd or wrong: the answer is the one that the service documents.

Both drivers, which refuse values in ways of their own.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
import pytest

from lab.clients import told
from lab.conformance import Document, fuzz, send
from lab.copies import replace_once, working_copy
from lab.migrations import migrate
from lab.prepared import DRIVERS, chosen
from lab.projects import Bakery
from lab.servers import Database, OwnServer, own_server
from lab.services import RunningService, ServiceEnvironment, running_service
from tests.service.odd_requests import OddRequest, odd_requests
from tests.service.test_wrong_environments import EXIT_SECONDS

pytestmark = pytest.mark.everything

EXAMPLES = 150
SEED = 20
RACERS = 24


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """Run a server for this suite."""
    with own_server() as running:
        yield running


@dataclass(frozen=True)
class Subject:
    """A running service and its database."""

    driver: str
    service: RunningService
    database: Database

    def log(self) -> str:
        """Return what the service has logged."""
        return self.service.log.read_text(errors="replace")


@contextmanager
def serving(
    server: OwnServer, environment: ServiceEnvironment, project: Path, log: Path
) -> Iterator[Subject]:
    """Serve a project with a new database that is migrated."""
    database = server.create_database()
    migrate(project, environment, database)
    with running_service(
        environment, project, log, DATABASE_URL=database.url
    ) as service:
        yield Subject(environment.path.name, service, database)


@pytest.fixture(scope="module", params=DRIVERS)
def subject(
    request: pytest.FixtureRequest,
    server: OwnServer,
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Subject]:
    """Serve the default project with each driver."""
    project = bake(chosen("postgres", "queuepool", request.param)).path
    log = tmp_path_factory.mktemp("bad-input") / "log"
    with serving(server, environments(request.param), project, log) as running:
        yield running


def test_fuzzing(subject: Subject, tmp_path: Path, report: list[str]) -> None:
    found = fuzz(subject.service.url, tmp_path, examples=EXAMPLES, seed=SEED)
    [(users,)] = subject.database.execute("SELECT count(*) FROM users")
    report.append(
        f"{subject.driver}: schemathesis, {found.cases} cases of {found.operations}"
        f" operations, {len(found.failures)} failures, {users} users remain"
    )
    assert not found.failures
    assert found.operations == len(operations(subject.service.url))
    assert found.cases > EXAMPLES
    assert "Traceback" not in subject.log()


def operations(url: str) -> list[str]:
    """Return the operations that the service documents, such as `get /users`."""
    paths = httpx2.get(f"{url}/openapi.json").json()["paths"]
    return [f"{method} {path}" for path, methods in paths.items() for method in methods]


def answers_to(
    url: str, user_id: int
) -> Iterator[tuple[OddRequest, httpx2.Response, list[str]]]:
    """Send every odd request; return the answer and what is wrong with it."""
    document = Document(url)
    for odd in odd_requests(user_id):
        answer = send(url, odd.method, odd.target, odd.body, odd.headers)
        faults = document.faults(odd.path, answer)
        if answer.status_code not in odd.statuses:
            faults.append(f"{answer.status_code}, not one of {set(odd.statuses)}")
        yield odd, answer, faults


def create_user(url: str, name: str, email: str) -> int:
    """Create a user and return its id."""
    answer = httpx2.post(f"{url}/users", json={"name": name, "email": email})
    assert answer.status_code == httpx2.codes.CREATED, answer.text
    return int(answer.json()["id"])


def test_odd_requests(subject: Subject, report: list[str]) -> None:
    user_id = create_user(subject.service.url, "Odd", "odd@example.com")
    results = list(answers_to(subject.service.url, user_id))
    statuses = Counter(answer.status_code for _, answer, _ in results)
    report.append(f"{subject.driver}: {len(results)} odd requests, {told(statuses)}")
    assert [(odd.name, faults) for odd, _, faults in results if faults] == []
    assert {200, 201, 400, 404, 405, 422} <= set(statuses)
    assert "Traceback" not in subject.log()


def test_changing_nothing_changes_nothing(subject: Subject) -> None:
    number = create_user(subject.service.url, "Same", "Same@example.com")
    url = f"{subject.service.url}/users/{number}"
    before = httpx2.get(url).json()
    for body in ({}, {"unknown": 1}, {"email": "Same@example.com"}):
        answer = httpx2.patch(url, json=body)
        assert (answer.status_code, answer.json()) == (httpx2.codes.OK, before)
    for field in ("name", "email"):
        answer = httpx2.patch(url, json={field: None})
        assert answer.status_code == httpx2.codes.UNPROCESSABLE_ENTITY
    assert httpx2.get(url).json() == before


def at_once(requests: list[tuple[str, str, dict[str, str]]]) -> Counter[int]:
    """Send requests (method, URL, body) at the same time and count the statuses."""

    async def send_all() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as client:
            return await asyncio.gather(
                *(
                    client.request(method, url, json=body)
                    for method, url, body in requests
                )
            )

    return Counter(answer.status_code for answer in asyncio.run(send_all()))


def in_other_case(text: str, number: int) -> str:
    """Write a text in one of many mixtures of capitals and small letters."""
    return "".join(
        letter.upper() if number >> (place % 5) & 1 else letter
        for place, letter in enumerate(text)
    )


def test_one_of_many_creates_an_email(subject: Subject, report: list[str]) -> None:
    emails = [in_other_case("race@example.com", number) for number in range(RACERS)]
    assert len(set(emails)) == RACERS
    url = f"{subject.service.url}/users"
    statuses = at_once([("POST", url, {"name": "a", "email": mail}) for mail in emails])
    report.append(f"{subject.driver}: {RACERS} creations at once, {told(statuses)}")
    assert statuses == {201: 1, 409: RACERS - 1}
    rows = subject.database.execute(
        "SELECT email FROM users WHERE lower(email) = 'race@example.com'"
    )
    assert len(rows) == 1


def test_one_of_many_takes_an_email(subject: Subject) -> None:
    url = subject.service.url
    numbers = [create_user(url, "a", f"taker{n}@example.com") for n in range(RACERS)]
    statuses = at_once(
        [
            (
                "PATCH",
                f"{url}/users/{number}",
                {"email": in_other_case("t@taken.org", n)},
            )
            for n, number in enumerate(numbers)
        ]
    )
    assert statuses == {200: 1, 409: RACERS - 1}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_user_that_vanishes_meanwhile(subject: Subject, method: str) -> None:
    """Another transaction deletes the row while the request waits for it."""
    number = create_user(subject.service.url, "a", f"vanish-{method}@example.com")
    url = f"{subject.service.url}/users/{number}"
    answers: list[httpx2.Response] = []
    body = {"name": "b"} if method == "PATCH" else None
    thread = threading.Thread(
        target=lambda: answers.append(
            httpx2.request(method, url, json=body, timeout=60)
        )
    )
    with psycopg.connect(subject.database.url) as connection:
        connection.execute("DELETE FROM users WHERE id = %s", [number])
        thread.start()
        wait_for_a_waiter(subject.database)
        connection.commit()
    thread.join()
    assert answers[0].status_code == httpx2.codes.NOT_FOUND
    assert "Traceback" not in subject.log()


def wait_for_a_waiter(database: Database) -> None:
    """Wait until a statement on the database waits for a lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + EXIT_SECONDS
    while database.execute(waiting) == [(0,)]:
        assert time.monotonic() < deadline, "nothing waits for a lock"
        time.sleep(0.05)


BROKEN = {
    "server error": (
        "    page = select",
        '    if after > 1000:\n        raise RuntimeError("deliberate")\n    page = select',
    ),
    "undocumented status": (
        "    page = select",
        "    if limit == 100:\n"
        '        raise HTTPException(418, "deliberate")\n    page = select',
    ),
}


@pytest.mark.parametrize("fault", ["server error", "undocumented status"])
def test_fuzzing_finds(
    fault: str,
    server: OwnServer,
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path: Path,
) -> None:
    """The checks can fail: a service with a deliberate fault does not pass them."""
    project = working_copy(bake(chosen("postgres", "queuepool", "asyncpg")), tmp_path)
    old, new = BROKEN[fault]
    replace_once(project / "app" / "routers" / "users.py", old, str(new))
    environment = environments("asyncpg")
    with serving(server, environment, project, tmp_path / "log") as subject:
        found = fuzz(subject.service.url, tmp_path, examples=20, seed=SEED)
        number = create_user(subject.service.url, "a", "a@example.com")
        document = Document(subject.service.url)
        target = b"/users?after=5000&limit=100"
        answer = send(subject.service.url, "GET", target)
        faults = document.faults("/users", answer)
        assert httpx2.get(f"{subject.service.url}/users/{number}").status_code == 200
    assert any("GET /users" in failure for failure in found.failures)
    assert faults
