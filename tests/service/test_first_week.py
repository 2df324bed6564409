"""What every team adds in its first week works, or says at once what to do.

Sessions and errors are decided by the driver and by the pool. So each of their four
combinations is extended and served, on a direct server: a pooler changes neither.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx2
import pytest

from lab.copies import working_copy
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database
from lab.services import RunningService, ServiceEnvironment, running_service
from lab.waiting import wait_until

ADDED = Path(__file__).parent / "probes" / "first_week.py"
AT_ONCE = 30
POOL_TIMEOUT = 3
READY_SECONDS = 1.5
LOG_SECONDS = 5
END_OWN_BACKEND = "SELECT pg_terminate_backend(pg_backend_pid())"
READS_ONLY = "SessionUseError: a session that only reads"

Environments = Callable[[str], ServiceEnvironment]


@dataclass
class Extended:
    """A service with a team's additions, and its database."""

    pool: str
    service: RunningService
    client: httpx2.Client
    database: Database
    path: Path
    environment: ServiceEnvironment

    def log(self) -> str:
        """Return what the service has logged."""
        return self.service.log.read_text()

    def logs(self, text: str, *, times: int = 1) -> str:
        """Wait until the service has logged a text; return what follows it."""
        deadline = monotonic() + LOG_SECONDS
        while self.log().count(text) < times:
            assert monotonic() < deadline, f"not logged: {text}\n{self.log()}"
            sleep(0.01)
        return self.log().rpartition(text)[2]

    def names(self) -> set[str]:
        """Return the names of all users."""
        return {name for (name,) in self.database.execute("SELECT name FROM users")}

    def at_once(self, method: str, paths: list[str]) -> list[int]:
        """Send requests at the same time; return their statuses."""
        with ThreadPoolExecutor(len(paths)) as threads:
            answers = threads.map(lambda path: self.client.request(method, path), paths)
            return [answer.status_code for answer in answers]

    def busy_backends(self) -> list[tuple[str, str]]:
        """Return the state and the statement of each backend that is not idle."""
        return [
            (str(state), str(query))
            for state, query in self.database.execute(
                "SELECT state, query FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend' AND state <> 'idle'"
            )
        ]


def extend(path: Path) -> None:
    """Add the team's module to the service at `path`."""
    (path / "app" / "first_week.py").write_text(ADDED.read_text())
    main = path / "app" / "main.py"
    main.write_text(
        main.read_text() + "\nfrom app import first_week\n\nfirst_week.extend(app)\n"
    )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((pool, driver), marks=marks, id=f"{pool}-{driver}")
        for pool, driver, marks in (
            ("nullpool", "asyncpg", pytest.mark.everything),
            ("nullpool", "psycopg", pytest.mark.everything),
            ("queuepool", "asyncpg", pytest.mark.everything),
            ("queuepool", "psycopg", ()),
        )
    ],
)
def extended(
    request: pytest.FixtureRequest,
    bake: Bakery,
    environments: Environments,
    migrated: Callable[[], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Extended]:
    """Serve an extended service of each pool and driver."""
    pool, driver = request.param
    folder = tmp_path_factory.mktemp("extended")
    path = working_copy(bake(chosen("postgres", pool, driver)), folder)
    extend(path)
    database = migrated()
    environment = environments(driver)
    # uvicorn closes a connection after an error, and a request may be on its way there.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    with (
        running_service(
            environment,
            path,
            folder / "log",
            DATABASE_URL=database.url,
            DB_POOL_TIMEOUT=str(POOL_TIMEOUT),
            DB_HOLD_WARNING=str(POOL_TIMEOUT + 1),
            DB_MAX_CONNECTIONS="15",
            DB_POOL_SIZE="15",  # All stay: one that ends has ended for a reason.
            DB_MAX_OVERFLOW="0",
        ) as service,
        httpx2.Client(base_url=service.url, timeout=30, limits=limits) as client,
    ):
        yield Extended(pool, service, client, database, path, environment)


@pytest.fixture(autouse=True)
def _nothing_left_behind(extended: Extended) -> Iterator[None]:
    """Start with one user; require that no backend is busy at the end."""
    extended.database.execute("TRUNCATE users CASCADE")
    extended.client.post("/users", json={"name": "Ada", "email": "ada@x"})
    yield
    assert extended.busy_backends() == []


# One session for each request


def test_dependencies_share_a_session(extended: Extended) -> None:
    answer = extended.client.post("/week/shared/bob")

    assert answer.json() == {"seen": True, "same": True, "caller": True}
    assert extended.names() == {"Ada", "bob"}


def test_requests_with_dependencies_do_not_wait_for_each_other(
    extended: Extended,
) -> None:
    paths = [f"/week/shared/{number}" for number in range(AT_ONCE)]

    started = monotonic()
    assert extended.at_once("POST", paths) == [200] * AT_ONCE
    assert monotonic() - started < POOL_TIMEOUT


def test_what_a_dependency_has_read_can_be_changed(extended: Extended) -> None:
    assert extended.client.patch("/week/caller/Eve").status_code == 200
    assert extended.names() == {"Eve"}


# A session ends with its request


def test_session_that_outlives_its_request_raises(extended: Extended) -> None:
    late = extended.client.post("/week/late/bob")
    assert late.status_code == 202
    assert extended.client.get("/week/late").text == "first\n"

    extended.logs("the session ended with its request", times=2)
    extended.logs("session_scope()")
    assert extended.names() == {"Ada"}


def test_scopes_leak_no_connection(extended: Extended) -> None:
    paths = [f"/week/task/{number}" for number in range(AT_ONCE)]

    assert extended.at_once("POST", paths) == [202] * AT_ONCE
    assert extended.at_once("GET", ["/week/stream"] * AT_ONCE) == [200] * AT_ONCE
    names = extended.client.get("/week/stream").text.split()
    assert set(names) == extended.names() == {"Ada", *map(str, range(AT_ONCE))}


def test_job_runs_in_loop_after_loop(extended: Extended) -> None:
    completed = extended.environment.run(
        extended.path, "app.first_week", DATABASE_URL=extended.database.url
    )

    assert completed.stdout == "1 users\n" * 2
    assert completed.stderr == ""


# A session that only reads


@pytest.mark.parametrize(
    "action", ["add", "change", "delete", "update", "stream", "lock"]
)
def test_session_that_only_reads_says_so(extended: Extended, action: str) -> None:
    before = extended.log().count(READS_ONLY)

    assert extended.client.post(f"/week/reader/{action}").status_code == 500

    assert "SessionDep" in extended.logs(READS_ONLY, times=before + 1)
    assert extended.names() == {"Ada"}


def test_same_value_is_no_change(extended: Extended) -> None:
    assert extended.client.post("/week/reader/same").status_code == 200


# Readiness is not load


def test_ready_while_every_connection_is_busy(extended: Extended) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        query = {"query": "SELECT pg_sleep(1)"}
        held = [
            threads.submit(extended.client.get, "/week/sql", params=query)
            for _ in range(AT_ONCE)
        ]
        while len(extended.busy_backends()) < 15:
            pass
        started = monotonic()
        answer = extended.client.get("/health/db")
        assert answer.status_code == 200
        assert monotonic() - started < READY_SECONDS
        assert {each.result().status_code for each in held} == {200}


def test_full_pool_is_503_and_the_log_says_who_holds_it(extended: Extended) -> None:
    named_before = extended.log().count("has held a connection for")
    query = {"query": f"SELECT pg_sleep({POOL_TIMEOUT + 2})"}
    with ThreadPoolExecutor(15) as threads:
        held = [
            threads.submit(extended.client.get, "/week/sql", params=query)
            for _ in range(15)
        ]
        while len(extended.busy_backends()) < 15:
            pass
        answer = extended.client.get("/users")
        assert {each.result().status_code for each in held} == {200}

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    said = extended.logs("all 15 connections were in use for 3 s (DB_POOL_TIMEOUT): ")
    assert re.match(r"GET /week/sql 15, longest [34]\.\d s\n", said)
    named = "GET /week/sql has held a connection for "
    assert extended.log().count(named) - named_before == 15


# The right status


@pytest.mark.parametrize("kind", ["text", "nul", "number"])
def test_value_that_the_database_cannot_take(extended: Extended, kind: str) -> None:
    answer = extended.client.post(f"/week/values/{kind}")

    assert answer.status_code == 422
    assert "detail" in answer.json()


def test_check_is_422(extended: Extended) -> None:
    extended.database.execute(
        "ALTER TABLE users ADD CONSTRAINT short CHECK (length(name) < 9) NOT VALID"
    )
    answer = extended.client.post(
        "/users", json={"name": "a" * 10, "email": "long@example.com"}
    )
    extended.database.execute("ALTER TABLE users DROP CONSTRAINT short")

    assert answer.status_code == 422


def test_number_of_any_size(extended: Extended) -> None:
    for _ in range(3):
        answer = extended.client.get(f"/week/number/{2**70}")
        assert answer.status_code in (200, 422)


def test_missing_value_is_a_mistake_of_the_service(extended: Extended) -> None:
    assert extended.client.post("/week/values/null").status_code == 500
    extended.logs("null value in column")


def test_bug_after_a_conflict_is_a_mistake_of_the_service(extended: Extended) -> None:
    assert extended.client.post("/week/bug-after-conflict").status_code == 500


def test_too_many_parameters_are_a_mistake_of_the_service(extended: Extended) -> None:
    assert extended.client.get("/week/parameters").status_code == 500


def test_timeout_of_another_server_is_not_the_databases(extended: Extended) -> None:
    assert extended.client.get("/week/upstream").status_code == 500


@pytest.mark.parametrize(
    ("sql", "status"),
    [
        pytest.param("INSERT INTO child VALUES (2)", 409, id="foreign-key"),
        pytest.param("INSERT INTO parent VALUES (1)", 409, id="unique"),
        pytest.param("INSERT INTO booking VALUES ('[1,5)')", 409, id="exclusion"),
        pytest.param("SELECT 1/0", 422, id="division"),
        pytest.param("SELECT 'x'::int", 422, id="representation"),
        pytest.param("SELECT '24:00'::time", 500, id="not-in-python"),
        pytest.param("SELECT * FROM missing", 500, id="undefined-table"),
        pytest.param("SELECT currval('unused')", 500, id="prerequisite"),
    ],
)
def test_status_of_sql(extended: Extended, sql: str, status: int) -> None:
    extended.database.execute("CREATE TABLE IF NOT EXISTS parent (id int PRIMARY KEY)")
    extended.database.execute("CREATE SEQUENCE IF NOT EXISTS unused")
    extended.database.execute(
        "CREATE TABLE IF NOT EXISTS child (parent_id int REFERENCES parent)"
    )
    extended.database.execute(
        "CREATE TABLE IF NOT EXISTS booking"
        " (at int4range, EXCLUDE USING gist (at WITH &&))"
    )
    for setup in (
        "INSERT INTO parent VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO booking SELECT '[1,9)' WHERE NOT EXISTS (SELECT FROM booking)",
    ):
        extended.database.execute(setup)

    assert extended.client.post("/week/sql", content=sql).status_code == status


def test_mounted_application_and_middleware_work(extended: Extended) -> None:
    assert extended.client.get("/mounted/users").text == "1"
    assert extended.client.get("/users", headers={"x-query": "1"}).status_code == 200
    for bug in (
        extended.client.get("/mounted/bug"),
        extended.client.get("/users", headers={"x-bug": "1"}),
    ):
        assert (bug.status_code, bug.text) == (500, "Internal Server Error")


def test_unreachable_database_is_503_everywhere(
    extended: Extended, tmp_path: Path
) -> None:
    nowhere = "postgresql://app@127.0.0.1:1/app"
    with (
        running_service(
            extended.environment,
            extended.path,
            tmp_path / "log",
            DATABASE_URL=nowhere,
        ) as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        answers = [
            client.get("/users"),
            client.get("/mounted/users"),
            client.get("/health/live", headers={"x-query": "1"}),
        ]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert "Traceback" not in (tmp_path / "log").read_text()


# Connections that are no longer good


def test_error_between_two_messages_leaves_no_lock(extended: Extended) -> None:
    extended.client.get(f"/week/number/{2**70}")
    extended.client.post("/week/values/number")

    assert extended.busy_backends() == []
    extended.database.execute(
        "SET lock_timeout = '1s'; ALTER TABLE users ALTER COLUMN name SET STATISTICS 100"
    )


@pytest.mark.parametrize("path", ["/week/ended", f"/week/sql?query={END_OWN_BACKEND}"])
def test_connection_that_ends_in_its_use_is_503(extended: Extended, path: str) -> None:
    assert extended.client.get(path).status_code == 503
    assert extended.client.get("/users").status_code == 200


@pytest.mark.parametrize(
    ("sqlstate", "stays"),
    [("25006", False), ("57P01", False), ("XX000", False), ("22012", True)],
)
def test_spoiled_connection_leaves_the_pool_alone(
    extended: Extended, sqlstate: str, *, stays: bool
) -> None:
    backends = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    extended.at_once("GET", ["/week/sql?query=SELECT pg_sleep(0.2)"] * 4)
    before = set(extended.database.execute(backends))
    extended.client.post(
        "/week/sql",
        content=f"DO $$BEGIN RAISE 'x' USING ERRCODE = '{sqlstate}'; END$$",
    )
    assert bool(before) == (extended.pool == "queuepool")
    ended = 1 if before and not stays else 0
    wait_until(
        lambda: len(before - set(extended.database.execute(backends))) == ended,
        f"the end of {ended} connections",
    )
