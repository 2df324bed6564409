"""URLs as people have them: what the driver is given, and whether it connects.

Both drivers, on the service with a direct connection. The module that reads a URL is
the same file whatever the database and the pool.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from psycopg import sql

from lab.drivers import WITH_DRIVER
from lab.projects import Bakery
from lab.servers import Database, OwnServer, own_server
from lab.variants import CHOICES, VARIANTS
from tests.service.probing import PASSWORD, SLUG, VERIFIED, Environments, Report, probe

# URLs


@pytest.fixture
def translate(
    environments: Environments, bake: Bakery
) -> Callable[[str, list[str]], list[Report]]:
    """Return the report of each URL, from a service with a direct connection."""

    def run(driver: str, urls: list[str]) -> list[Report]:
        variant = next(variant for variant in VARIANTS if variant.driver == driver)
        settings = [{"DATABASE_URL": url} for url in urls]
        return probe(environments(driver), bake(variant), settings)

    return run


Translate = Callable[[str, list[str]], list[Report]]
each_driver = pytest.mark.parametrize("driver", CHOICES["driver"])

ODD_PASSWORD = "@ : / % # ? & = + \\ ' \" ü €"  # noqa: S105
ADDRESSES: dict[str, tuple[str, Report]] = {
    "postgres": ("postgres://u:p@h:1/d", {}),
    "postgresql": ("postgresql://u:p@h:1/d", {}),
    "asyncpg": ("postgresql+asyncpg://u:p@h:1/d", {}),
    "psycopg": ("postgresql+psycopg://u:p@h:1/d", {}),
    "spaces-around": ("  postgres://u:p@h:1/d\n", {}),
    "percent-encoded": (
        f"postgres://u:{quote(ODD_PASSWORD, safe='')}@h:1/d",
        {"password": ODD_PASSWORD},
    ),
    "plus-is-plus": ("postgres://u:p+q@h:1/d", {"password": "p+q"}),
    "encoded-user": ("postgres://a%40b:p@h:1/d", {"user": "a@b"}),
    "encoded-name": ("postgres://u:p@h:1/a%20b%2Dc", {"name": "a b-c"}),
    "no-password": ("postgres://u@h:1/d", {"password": None}),
    "no-port": ("postgres://u:p@h/d", {"port": None}),
    "ipv6": ("postgres://u:p@[::1]:1/d", {"host": "::1"}),
    "ipv6-without-port": (
        "postgres://u:p@[fe80::1]/d",
        {"host": "fe80::1", "port": None},
    ),
    "socket": (
        "postgres://u:p@/d?host=/var/run/postgresql",
        {"host": "/var/run/postgresql", "port": None},
    ),
    "encoded-socket": (
        "postgres://u:p@%2Fvar%2Frun%2Fpostgresql:1/d",
        {"host": "/var/run/postgresql"},
    ),
    "socket-and-port": ("postgres://u:p@/d?host=%2Ftmp&port=1", {"host": "/tmp"}),  # noqa: S108
    "all-parameters": ("postgres://?host=h&port=1&user=u&password=p&dbname=d", {}),
    "parameters-win": (
        "postgres://x:y@i:2/e?host=h&port=1&user=u&password=p&dbname=d",
        {},
    ),
    "host-parameter": ("postgres:///d?host=h&port=1", {"user": None, "password": None}),
}


@each_driver
def test_address(translate: Translate, driver: str) -> None:
    reports = translate(driver, [url for url, _ in ADDRESSES.values()])
    for (name, (_, differences)), report in zip(
        ADDRESSES.items(), reports, strict=True
    ):
        connect = report["connect"]
        found = {key: connect.get(key) for key in ("user", "password", "host", "port")}
        found["name"] = connect[WITH_DRIVER[driver].database_name]
        usual = {"user": "u", "password": "p", "host": "h", "port": 1, "name": "d"}
        assert found == usual | differences, name
        assert report["url"].startswith(f"postgresql+{driver}://"), name
        assert "ssl" not in connect, name
        assert "sslmode" not in connect, name


def connect_of(translate: Translate, driver: str, queries: list[str]) -> list[Report]:
    urls = [f"postgresql://u:p@h.example.com/d?{query}" for query in queries]
    return [report["connect"] for report in translate(driver, urls)]


def read_by_asyncpg(connect: Report) -> dict[str, str]:
    """Return the parameters that asyncpg reads by itself."""
    return dict(parse_qsl(urlsplit(connect["dsn"]).query))


@pytest.mark.everything
@each_driver
def test_other_parameters(translate: Translate, driver: str) -> None:
    named, timed, options = connect_of(
        translate,
        driver,
        ["application_name=a%20b+c", "connect_timeout=4", "options=endpoint%3Dep-a-1"],
    )
    if driver == "asyncpg":
        assert read_by_asyncpg(named) == {"application_name": "a b+c"}
        assert timed["timeout"] == 4
        assert read_by_asyncpg(options) == {
            "application_name": SLUG,
            "options": "endpoint=ep-a-1",
        }
    else:
        assert named["application_name"] == "a b+c"
        assert int(timed["connect_timeout"]) == 4
        assert options["options"] == "endpoint=ep-a-1"
        assert options["application_name"] == SLUG


def test_tls_of_asyncpg(translate: Translate) -> None:
    unverified = ["disable", "allow", "prefer", "require"]
    queries = [f"sslmode={mode}" for mode in unverified]
    for query, connect in zip(
        unverified, connect_of(translate, "asyncpg", queries), strict=True
    ):
        assert "ssl" not in connect
        assert read_by_asyncpg(connect)["sslmode"] == query
    verified = [
        "sslmode=verify-full",
        "channel_binding=require",
        "sslmode=require&channel_binding=require",
        "sslmode=verify-ca&channel_binding=require",
        "sslmode=prefer&channel_binding=require",
        "sslmode=verify-full&sslrootcert=system",
        "sslrootcert=system",
    ]
    for query, connect in zip(
        verified, connect_of(translate, "asyncpg", verified), strict=True
    ):
        assert connect["ssl"] == VERIFIED, query
    ca_only, preferred = connect_of(
        translate, "asyncpg", ["sslmode=verify-ca", "channel_binding=prefer"]
    )
    assert ca_only["ssl"] == VERIFIED | {"checks_host": False}
    assert "ssl" not in preferred


def test_tls_of_psycopg(translate: Translate) -> None:
    same = [
        *(f"sslmode={mode}" for mode in ("disable", "allow", "prefer", "require")),
        "sslmode=require&channel_binding=require",
        "channel_binding=prefer",
    ]
    for query, connect in zip(
        same, connect_of(translate, "psycopg", same), strict=True
    ):
        found = {
            key: value
            for key, value in connect.items()
            if key.startswith(("ssl", "channel"))
        }
        assert found == dict(part.split("=") for part in query.split("&")), query
    verified = {
        "sslmode=verify-full": "verify-full",
        "sslmode=verify-ca": "verify-ca",
        "sslmode=verify-full&sslrootcert=system": "verify-full",
        "sslrootcert=system": "verify-full",
    }
    for (query, mode), connect in zip(
        verified.items(), connect_of(translate, "psycopg", list(verified)), strict=True
    ):
        assert connect["sslmode"] == mode, query
        certificates = Path(connect["sslrootcert"]).read_text()
        assert "BEGIN CERTIFICATE" in certificates, query


ODD_TEXTS = [
    PASSWORD,
    f"://{PASSWORD}",
    f"postgresql//app:{PASSWORD}@h/d",
    f"postgresql:/app:{PASSWORD}@h/d",
    f"postgresql://app:{PASSWORD}@h:port/d",
    f"postgresql://app:{PASSWORD}@h:99999999/d",
    f"postgresql://app:{PASSWORD}@h:-1/d",
    f"postgresql://app:{PASSWORD}@[h/d",
    f"postgresql://app:{PASSWORD}@h/d?port=99999999999999999999",
    f"postgresql://app:{PASSWORD}@h/d?port=%00",
    f"postgresql://app:{PASSWORD}@h/d?password={PASSWORD}",
    f"postgresql://app:{PASSWORD}@h/d?sslmode={PASSWORD}",
    f"postgresql://app:{PASSWORD}@h/d?sslrootcert=/none/{PASSWORD}",
    f"postgresql://app:{PASSWORD}@h/d?sslrootcert=%00",
    f"postgresql://app:x@{PASSWORD}@h/d",
    f"postgresql://app:x@/{PASSWORD}@h/d",
    f"postgresql://app:x@y?{PASSWORD}=1@h/d",
    f"postgresql://app:x@y?z&{PASSWORD}=1@h/d",
    f"postgresql://app:x@y:{PASSWORD}@h/d",
    f"postgresql://app:{PASSWORD}%zz@h/d?x=1",
    f"postgresql://app:{PASSWORD}@h/d?sslmode=require&sslmode={PASSWORD}",
    f"postgresql://app@h/d?sslpassword=x&{PASSWORD}",
    f"postgresql://app:{PASSWORD}%e9@h/d",
    f"app={PASSWORD} host=h dbname=d",
    f"postgresql+{PASSWORD}",
]


@pytest.mark.everything
@each_driver
def test_odd_text_is_refused_without_the_password(
    translate: Translate, driver: str
) -> None:
    """A text may be taken as it is, or refused, but never crash or be shown."""
    for text, report in zip(ODD_TEXTS, translate(driver, ODD_TEXTS), strict=True):
        assert "crashed" not in report, f"{text}: {report}"
        if "stopped" in report:
            assert report["stopped"].startswith("DATABASE_URL "), text
            assert PASSWORD not in report["stopped"], text


# Real connections


@pytest.fixture(scope="module")
def local_server() -> Iterator[OwnServer]:
    """Run a server that listens on both loopback addresses and on a socket."""
    folder = Path(tempfile.mkdtemp(prefix="sockets-"))
    folder.chmod(0o777)
    settings = {
        "listen_addresses": "127.0.0.1,::1",
        "unix_socket_directories": str(folder),
    }
    try:
        with own_server(**settings) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port where connections open and nobody answers, as after a failover."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def create_role(server: OwnServer, password: str) -> str:
    """Create a role that may do nothing but log in, and return its name."""
    name = f"odd_{os.getpid()}"
    Database(server.url).execute(
        sql.SQL("DROP ROLE IF EXISTS {0}; CREATE ROLE {0} LOGIN PASSWORD {1}")
        .format(sql.Identifier(name), sql.Literal(password))
        .as_string()
    )
    return name


@pytest.mark.everything
@each_driver
def test_connects(
    environments: Environments,
    bake: Bakery,
    local_server: OwnServer,
    silent_port: int,
    driver: str,
) -> None:
    role = create_role(local_server, ODD_PASSWORD)
    port = urlsplit(local_server.url).port
    login = f"postgres://{role}:{quote(ODD_PASSWORD, safe='')}@"
    sockets = quote(local_server.settings["unix_socket_directories"], safe="")
    tcp = f"{login}127.0.0.1:{port}/postgres"
    usual = [role, "postgres", SLUG, "4MB", False]
    cases: dict[str, list[object]] = {
        tcp: usual,
        f"{tcp}?sslmode=disable": usual,
        f"{tcp}?sslmode=prefer": usual,
        f"{tcp}?sslmode=allow": usual,
        f"{tcp}?channel_binding=prefer": usual,
        f"{tcp}?connect_timeout=5": usual,
        f"{tcp}?application_name=a%20b": [*usual[:2], "a b", *usual[3:]],
        f"{tcp}?options=-c%20work_mem%3D5MB": [*usual[:3], "5MB", False],
        f"{login}{sockets}:{port}/postgres": usual,
        f"{login}/postgres?host={sockets}&port={port}": usual,
        f"{login}localhost:{port}/postgres": usual,
        f"{login}127.0.0.1:1,127.0.0.1:{port}/postgres": usual,
        f"{login}[::1]:1,127.0.0.1:{port}/postgres": usual,
        f"{login}/postgres?host=127.0.0.1,127.0.0.1&port=1,{port}": usual,
        f"{login}/postgres?host=127.0.0.1,localhost&port={port}": usual,
        f"{login}127.0.0.1:{silent_port},127.0.0.1:{port}/postgres?connect_timeout=2": usual,
        f"{tcp}?target_session_attrs=read-write": usual,
        f"{login}127.0.0.1:{port},localhost:{port}/postgres?target_session_attrs=prefer-standby": usual,
        f"{tcp}?keepalives=0": usual,
    }
    if has_ipv6():
        cases[f"{login}[::1]:{port}/postgres"] = usual
    refused = [
        f"{tcp}?sslmode=require",
        f"{tcp}?ssl=true",
        f"{tcp}?sslmode=verify-full",
        f"{tcp}?channel_binding=require",
        f"{tcp}?sslmode=require&channel_binding=require",
        tcp.replace("%", "%25"),
        f"{tcp}?target_session_attrs=standby",
        f"{login}127.0.0.1:{port},localhost:{port}/postgres?target_session_attrs=standby",
    ]
    variant = next(variant for variant in VARIANTS if variant.driver == driver)
    settings = [
        {"DATABASE_URL": url, "PROBE_CONNECT": "1"} for url in [*cases, *refused]
    ]
    reports = probe(environments(driver), bake(variant), settings)
    for (url, expected), report in zip(cases.items(), reports, strict=False):
        assert report["identity"] == expected, url
    for url, report in zip(refused, reports[len(cases) :], strict=True):
        assert len(report["identity"]) == len(["error", "message"]), url
        assert ODD_PASSWORD not in report["identity"][1]
