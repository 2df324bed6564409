"""The servers and the services of the tests of faults, for each file its own."""

from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from lab.migrations import migrate
from lab.pgbouncers import moved
from lab.prepared import chosen
from lab.projects import Bakery
from lab.proxies import proxy
from lab.servers import NEWEST, own_server
from tests.faults.sites import (
    CONNECT_TIMEOUT,
    TIMEOUT,
    Environments,
    Servers,
    Site,
    eight_sites,
    rendered_bouncer,
)


@pytest.fixture(scope="module")
def server_version() -> int:
    """The version of PostgreSQL; a file that defines this again has another."""
    return NEWEST


@pytest.fixture(scope="module")
def servers(
    docker_engine: None,  # noqa: ARG001
    server_version: int,
    bake: Bakery,
    environments: Environments,
) -> Iterator[Servers]:
    """Run the servers and the proxies of this suite."""
    with ExitStack() as stack:
        server = stack.enter_context(own_server(server_version, max_connections="200"))
        port = urlsplit(server.url).port
        assert port is not None
        behind = stack.enter_context(proxy(port))
        bouncer = stack.enter_context(rendered_bouncer(bake, server.url))
        proxied = stack.enter_context(
            rendered_bouncer(bake, moved(server.url, behind.port))
        )
        template = server.create_database()
        project = bake(chosen("postgres", "nullpool", "asyncpg"))
        migrate(project.path, environments("asyncpg"), template)
        yield Servers(
            server=server,
            template=template,
            bouncer=bouncer,
            to_server=stack.enter_context(proxy(port)),
            to_bouncer=stack.enter_context(proxy(proxied.port)),
            behind_bouncer=behind,
            proxied_bouncer=proxied,
        )


@pytest.fixture(scope="module")
def sites(
    bake: Bakery,
    environments: Environments,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Site]]:
    """Run eight services with the timeouts as rendered, and no proxy in the way."""
    folder = tmp_path_factory.mktemp("sites")
    with eight_sites(bake, environments, servers, folder, servers.url) as running:
        yield running


@pytest.fixture(scope="module")
def proxied_sites(
    bake: Bakery,
    environments: Environments,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Site]]:
    """Run eight services with short timeouts and a small pool, behind proxies."""
    with eight_sites(
        bake,
        environments,
        servers,
        tmp_path_factory.mktemp("proxied"),
        servers.proxied_url,
        DB_CONNECT_TIMEOUT=str(CONNECT_TIMEOUT),
        DB_COMMAND_TIMEOUT=str(TIMEOUT),
        DB_POOL_TIMEOUT=str(CONNECT_TIMEOUT),
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="1",
    ) as running:
        yield running
