"""A full pool, a full server and a full PgBouncer: 503 in time, and then all goes on.

Each database with each driver, with the pool that it takes to fill it.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.migrations import migrate
from lab.prepared import DRIVERS, chosen
from lab.projects import Bakery
from lab.servers import OLDEST, Database, own_server
from lab.services import RunningService, running_service
from tests.faults.sites import (
    LOCAL_DATABASES,
    OVERHEAD,
    UNHANDLED,
    Environments,
    Servers,
    held_requests,
    held_users,
    line,
    page,
    rendered_bouncer,
    wait_for_lock,
)


@pytest.fixture(scope="module")
def server_version() -> int:
    """Run here what the other files run on the newest server."""
    return OLDEST


def assert_full_and_recovers(
    service: RunningService, database: Database, capacity: int, patience: float
) -> str:
    """Fill every connection, twice: others get 503 after `patience`, then all goes on.

    The second time shows that no connection has been lost the first time. Returns what
    happened.
    """
    seconds: list[float] = []
    acknowledged = 0
    for _ in range(2):
        with held_requests(service, database, capacity) as held:
            with ThreadPoolExecutor(10) as threads:
                refused = list(threads.map(page, [service] * 10))
            assert {response.status_code for response in refused} == {503}
            assert all(response.headers["Retry-After"] for response in refused)
            seconds += [response.elapsed.total_seconds() for response in refused]
            assert held.waiting() == capacity
            written = [response.status_code for response in held.release()]
            assert written == [201] * capacity
            acknowledged += len(written)
        assert page(service).status_code == 200
    found = held_users(database)
    assert found == acknowledged
    assert UNHANDLED not in service.log.read_text()
    assert min(seconds) >= patience
    assert max(seconds) < patience + OVERHEAD
    return (
        f" {len(seconds):2} requests refused after {min(seconds):.1f} to"
        f" {max(seconds):.1f} s, {acknowledged:2} users acknowledged, {found:2} found"
    )


@pytest.mark.parametrize("database_kind", LOCAL_DATABASES)
@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_pool(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    database_kind: str,
    driver: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen(database_kind, "queuepool", driver)
    database = servers.fresh_database()
    with running_service(
        environments(driver),
        bake(variant).path,
        tmp_path / "log",
        DATABASE_URL=servers.url(variant, database),
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="1",
        DB_POOL_TIMEOUT="1.5",
    ) as service:
        found = assert_full_and_recovers(service, database, capacity=3, patience=1.5)
    report.append(line("full pool", variant, found))


@pytest.mark.everything
@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_server(
    bake: Bakery,
    environments: Environments,
    driver: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen("postgres", "nullpool", driver)
    project = bake(variant).path
    environment = environments(driver)
    with own_server(max_connections="6", superuser_reserved_connections="0") as server:
        database = server.create_database()
        migrate(project, environment, database)
        wait_for_lock(database)
        with running_service(
            environment,
            project,
            tmp_path / "log",
            DATABASE_URL=database.url,
            DB_MAX_CONNECTIONS="100",
        ) as service:
            # One of the six is the test's own.
            found = assert_full_and_recovers(service, database, capacity=5, patience=0)
    report.append(line("full server", variant, found))


@pytest.mark.parametrize(
    ("limit", "patience"),
    [({"max_client_conn": "3"}, 0), ({"default_pool_size": "3"}, 2)],
    ids=["clients", "server-connections"],
)
@pytest.mark.parametrize("driver", DRIVERS)
def test_exhausted_bouncer(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    driver: str,
    limit: dict[str, str],
    patience: float,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen("pgbouncer", "nullpool", driver)
    database = servers.fresh_database()
    with (
        rendered_bouncer(
            bake, servers.server.url, **{"query_wait_timeout": "2"} | limit
        ) as bouncer,
        running_service(
            environments(driver),
            bake(variant).path,
            tmp_path / "log",
            DATABASE_URL=bouncer.url(database),
        ) as service,
    ):
        found = assert_full_and_recovers(
            service, database, capacity=3, patience=patience
        )
    report.append(line("full PgBouncer", variant, found))
