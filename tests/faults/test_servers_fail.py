"""Servers that fail under load: nothing acknowledged is lost, nothing doubled.

Every database, pool and driver: the pool keeps connections that a fault ends, PgBouncer
has its own, and each driver says in its own way that one has ended.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx2
import pytest

from lab.clients import REFUSED, Load, Person, Record
from lab.copies import replace_once, working_copy
from lab.prepared import chosen, copy_database
from lab.projects import Bakery
from lab.servers import Database
from lab.services import running_service
from lab.variants import Variant
from lab.waiting import wait_until
from tests.faults.sites import (
    CLIENTS,
    VARIANTS,
    Environments,
    Servers,
    Site,
    Trial,
    assert_survived,
    create,
    line,
    lines_of,
    under_load,
    wait_for_answers,
)


def connections(servers: Servers) -> Counter[str]:
    """Count the server's connections by the names of their databases."""
    rows = Database(servers.server.url).execute(
        "SELECT datname, count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' GROUP BY datname"
    )
    return Counter(dict(rows))


def wait_for_connections(servers: Servers, sites: list[Site]) -> Counter[str]:
    """Wait until the server has a connection of every site; return how many."""
    names = {site.database.name for site in sites}
    found: list[Counter[str]] = []

    def everybody_is_connected() -> bool:
        found.append(connections(servers))
        return names <= found[-1].keys()

    wait_until(everybody_is_connected, "a connection of every service")
    return found[-1]


# Each fault returns how many connections to each database the server has ended.


def restarted(servers: Servers, sites: list[Site], _: list[Load]) -> Counter[str]:
    """Restart the server as an administrator does."""
    ended = wait_for_connections(servers, sites)
    servers.server.restart()
    return ended


def crashed(servers: Servers, sites: list[Site], _: list[Load]) -> Counter[str]:
    """Let the server start again after something like a power failure."""
    ended = wait_for_connections(servers, sites)
    servers.server.stop(immediate=True)
    servers.server.start()
    return ended


def terminated(servers: Servers, _sites: list[Site], loads: list[Load]) -> Counter[str]:
    """End every connection, several times, while requests use them."""
    ended: Counter[str] = Counter()
    for _ in range(5):
        rows = Database(servers.server.url).execute(
            "SELECT datname, count(*) FILTER (WHERE pg_terminate_backend(pid))"
            " FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() GROUP BY datname"
        )
        ended.update(dict(rows))
        wait_for_answers(loads, CLIENTS)
    return ended


def stopped(servers: Servers, sites: list[Site], loads: list[Load]) -> Counter[str]:
    """Have no server for some seconds; a closed port refuses at once, at any time.

    PgBouncer lets its clients wait for a while: the server is gone until all miss it.
    """
    ended = wait_for_connections(servers, sites)
    servers.server.stop()
    time.sleep(5)
    wait_until(lambda: all(load.record.unexpected() for load in loads), "a refusal")
    servers.server.start()
    return ended


FAULTS = {fault.__name__: fault for fault in (restarted, crashed, terminated, stopped)}


@dataclass
class ServerTrial:
    """What a fault of the server did: to each service, and to its connections."""

    services: dict[Variant, Trial]
    ended: dict[Variant, int]


@pytest.fixture(scope="module")
def trials(
    servers: Servers, sites: list[Site], report: list[str]
) -> Callable[[str], ServerTrial]:
    """Return what a fault of the server did to every service; it happens once."""

    @cache
    def happen(name: str) -> ServerTrial:
        ended: Counter[str] = Counter()
        found = under_load(
            sites, lambda loads: ended.update(FAULTS[name](servers, sites, loads))
        )
        report.extend(lines_of(f"server {name}", found))
        return ServerTrial(
            found, {site.variant: ended[site.database.name] for site in sites}
        )

    return happen


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_server(
    trials: Callable[[str], ServerTrial], fault: str, variant: Variant
) -> None:
    found = trials(fault)
    assert found.ended[variant], "the server ended no connection of it"
    trial = found.services[variant]
    if fault == "stopped":
        assert trial.record.unexpected(), "nobody missed the server"
    assert_survived(trial)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_commit_that_fails(
    sites: list[Site], variant: Variant, report: list[str]
) -> None:
    [site] = [site for site in sites if site.variant == variant]
    made = create(site.service, 1).json()
    with (
        needed(site.database, made["id"]),
        httpx2.Client(base_url=site.service.url, trust_env=False) as http,
    ):
        user = f"/users/{made['id']}"
        refused = {"name": REFUSED, "email": "refused@example.com"}
        answers = [
            http.post("/users", json=refused),
            http.patch(user, json={"name": REFUSED}),
            http.delete(user),
        ]
        assert [answer.status_code for answer in answers] == [409, 409, 409]
        assert http.get(user).json() == made
    found = site.database.execute("SELECT id FROM users WHERE name = %s", REFUSED)
    assert not found
    text = f" {len(answers)} COMMITs refused, answered 409, {len(found)} writes found"
    report.append(line("COMMIT that fails", variant, text))


@contextmanager
def needed(database: Database, user_id: int) -> Iterator[None]:
    """Let COMMIT fail where a transaction has deleted this user."""
    database.execute(
        """
        CREATE TABLE needed (
            user_id int REFERENCES users DEFERRABLE INITIALLY DEFERRED
        )
        """
    )
    try:
        database.execute("INSERT INTO needed VALUES (%s)", user_id)
        yield
    finally:
        database.execute("DROP TABLE needed")


INSERT = "INSERT INTO users (id, name, email, created_at, updated_at) VALUES"


def test_comparison_can_fail(servers: Servers) -> None:
    database = copy_database(servers.server, servers.template)
    database.execute(
        f"{INSERT} (1, 'kept', 'kept@x', now(), now()),"
        " (2, 'changed', 'renamed@x', now(), now()),"
        " (3, 'back', 'deleted@x', now(), now()),"
        " (4, 'moved', 'moved@x', now(), now()),"
        " (5, 'strange', 'strange@x', now(), now())"
    )
    database.execute("DROP INDEX uq_users_email_lower")
    database.execute(f"{INSERT} (6, 'twice', 'kept@x', now(), now())")
    record = Record(clients=1)
    for number, name in enumerate(["kept", "renamed", "deleted", "moved", "lost"], 1):
        email = f"{name}@x"
        person = Person(email, {name}, {name}, number, acknowledged=True)
        person.may_be_absent = person.deleted = name == "deleted"
        person.id = 40 if name == "moved" else number
        record.persons[email] = person
    assert record.compare(database) == [
        "kept@x is stored 2 times",
        "renamed@x is called 'changed', not one of {'renamed'}",
        "deleted@x is stored, but its deletion was acknowledged",
        "moved@x has id 4, but 40 was acknowledged",
        "lost@x is lost",
        "nobody wrote strange@x",
    ]


def test_commit_after_the_response_is_seen(
    servers: Servers, bake: Bakery, environments: Environments, tmp_path: Path
) -> None:
    """With FastAPI's default scope the same refused COMMIT follows a 201."""
    variant = chosen("postgres", "nullpool", "psycopg")
    project = working_copy(bake(variant), tmp_path)
    for old, new in (
        ('(get_session, scope="function")', '(get_session, scope="request")'),
        (
            'session: Annotated[AsyncSession, Depends(get_read_session, scope="function")]',
            "session: Annotated[AsyncSession, Depends(get_read_session)]",
        ),
        (
            '= Annotated[AsyncSession, Depends(get_read_session, scope="function")]',
            "= Annotated[AsyncSession, Depends(get_read_session)]",
        ),
    ):
        replace_once(project / "app" / "dependencies.py", old, new)
    database = servers.fresh_database()
    with running_service(
        environments("psycopg"), project, tmp_path / "log", DATABASE_URL=database.url
    ) as service:
        body = {"name": REFUSED, "email": "refused@example.com"}
        answer = httpx2.post(f"{service.url}/users", json=body, trust_env=False)
    assert answer.status_code == 201
    assert not database.execute("SELECT id FROM users")
