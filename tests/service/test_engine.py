"""The engine that a service makes of its environment, or why it stops."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from psycopg import sql

from lab.copies import replace_once, run_with, working_copy
from lab.projects import Bakery, Project
from lab.servers import Database, OwnServer, Server, free_port, own_server
from lab.services import ServiceEnvironment, running_service
from lab.variants import CHOICES, VARIANTS, Variant

PROBES = Path(__file__).parent / "probes"
SLUG = "my-service"
PASSWORD = "s3cret"  # noqa: S105 (of servers that are not there)
NEON_DIRECT = f"postgresql://app:{PASSWORD}@ep-a-1.eu-central-1.aws.neon.tech/app"
NEON_POOLED = NEON_DIRECT.replace("ep-a-1", "ep-a-1-pooler")
CONSOLE_QUERY = "?sslmode=require&channel_binding=require"
PLAIN = f"postgresql://app:{PASSWORD}@db.example.com:5432/app"
URLS = {"postgres": PLAIN, "neon": NEON_POOLED, "pgbouncer": PLAIN}
VERIFIED = {"verifies": True, "checks_host": True, "authorities": True}
# Two fields whose values say nothing.
NOT_COMPARED = ("context",)

TUNED = {
    "DB_POOL_SIZE": "7",
    "DB_MAX_OVERFLOW": "0",
    "DB_POOL_TIMEOUT": "2.5",
    "DB_POOL_RECYCLE": "60",
    "DB_CONNECT_TIMEOUT": "3",
    "DB_COMMAND_TIMEOUT": "4.5",
}

Environment = Mapping[str, str]
Environments = Callable[[str], ServiceEnvironment]
Report = dict[str, Any]


def probe(
    environment: ServiceEnvironment, project: Project, settings: Sequence[Environment]
) -> list[Report]:
    """Import the engine of the service once in each environment."""
    completed = environment.run(
        project.path,
        *("engine_probe", json.dumps(settings)),
        PYTHONPATH=str(PROBES),
        PYTHONDONTWRITEBYTECODE="1",
    )
    reports: list[Report] = json.loads(completed.stdout)
    return reports


# Every variant


def expected_pool(variant: Variant) -> Report:
    """Return the pool of a variant with no variable set."""
    if variant.pool == "nullpool":
        return {"class": "NullPool", "recycle": -1}
    return {
        "class": "SteadyQueuePool",
        "size": 5,
        "max_overflow": 10,
        "timeout": 30,
        "recycle": 280 if variant.database == "neon" else 1800,
    }


def expected_connect(
    variant: Variant, *, connect_timeout: float = 15, command_timeout: float = 30
) -> Report:
    """Return what the driver is given for the URL of a variant in URLS."""
    url = urlsplit(URLS[variant.database])
    arguments: Report = {"host": url.hostname, "user": "app", "password": PASSWORD}
    if url.port:
        arguments["port"] = url.port
    if variant.driver == "asyncpg":
        arguments |= {
            "database": "app",
            "timeout": connect_timeout,
            "command_timeout": command_timeout,
            "server_settings": {"application_name": SLUG},
            "async_creator_fn": "app.core.driver.connect",
        }
        if variant.pooled_endpoint:
            arguments["statement_cache_size"] = 0
            arguments["prepared_statement_cache_size"] = 0
    else:
        arguments |= {
            "dbname": "app",
            "connect_timeout": connect_timeout,
            "application_name": SLUG,
            "async_creator_fn": ["app.core.driver.connect", command_timeout],
        }
        if variant.pooled_endpoint:
            arguments["prepare_threshold"] = None
    return arguments


def compared(connect: Report) -> Report:
    return {key: value for key, value in connect.items() if key not in NOT_COMPARED}


def test_engine(
    environment: ServiceEnvironment, project: Project, variant: Variant
) -> None:
    url = URLS[variant.database]
    default, tuned, debug, console, empty = probe(
        environment,
        project,
        [
            {"DATABASE_URL": url},
            {"DATABASE_URL": url, **TUNED},
            {"DATABASE_URL": url, "DEBUG": "true"},
            {"DATABASE_URL": NEON_POOLED + CONSOLE_QUERY},
            {"DATABASE_URL": url, **dict.fromkeys([*TUNED, "DEBUG"], "")},
        ],
    )
    assert default["url"] == url.replace("postgresql:", f"postgresql+{variant.driver}:")
    assert default["pool"] == expected_pool(variant)
    assert default["echo"] is False
    assert compared(default["connect"]) == expected_connect(variant)
    assert default["session"] == "sqlmodel.ext.asyncio.session"
    assert default["expire_on_commit"] is False
    assert default["log"] == []
    assert default["reads"] == "AUTOCOMMIT"
    assert default["reads_share_the_pool"] is True

    expected = expected_pool(variant)
    if variant.pool == "queuepool":
        expected |= {"size": 7, "max_overflow": 0, "timeout": 2.5, "recycle": 60}
    assert tuned["pool"] == expected
    assert compared(tuned["connect"]) == expected_connect(
        variant, connect_timeout=3, command_timeout=4.5
    )

    assert debug["echo"] is True
    assert {**debug, "echo": False} == like(default, debug)
    assert empty == like(default, empty)

    connect = console["connect"]
    assert connect["host"] == urlsplit(NEON_POOLED).hostname
    if variant.driver == "asyncpg":
        assert connect["ssl"] == VERIFIED
    else:
        assert connect["sslmode"] == "require"
        assert connect["channel_binding"] == "require"
    assert console["log"] == []


def like(report: Report, other: Report) -> Report:
    """Return a report with those values of another that are never the same."""
    values = {key: other["connect"][key] for key in NOT_COMPARED if key in other}
    if "context" in other["connect"]:
        values["context"] = other["connect"]["context"]
    return {**report, "connect": report["connect"] | values}


@dataclass(frozen=True)
class Wrong:
    """An environment that a service must refuse, and what the message says."""

    settings: Environment
    variable: str
    remedy: str


def wrong_settings(variant: Variant) -> dict[str, Wrong]:
    """Return the environments that stop a service of this variant."""
    url = URLS[variant.database]
    name = "DATABASE_URL"
    wrong = {
        "missing": Wrong({}, name, "Set it to"),
        "empty": Wrong({name: ""}, name, "Set it to"),
        "mysql": Wrong({name: url.replace("postgresql", "mysql")}, name, "use postgre"),
        "sqlite": Wrong({name: f"sqlite:///{PASSWORD}"}, name, "use postgresql://"),
        "unreadable": Wrong({name: f"app:{PASSWORD}@db"}, name, "Write postgresql://"),
        "parameter": Wrong({name: f"{url}?sslmod=require"}, name, "remove it"),
        "sslmode": Wrong({name: f"{url}?sslmode=no-verify"}, name, "use one of"),
        "blank": Wrong({name: f"{url}?sslmode="}, name, "give it a value"),
        "nameless": Wrong({name: f"{url}?pgbouncer"}, name, "remove it"),
        "port": Wrong({name: f"postgresql://app:{PASSWORD}@h:0/d"}, name, "correct it"),
        "host": Wrong(
            {name: f"postgresql://app:{PASSWORD}@h..x/d"}, name, "correct it"
        ),
        "number": Wrong(
            {name: url, "DB_COMMAND_TIMEOUT": "soon"}, "DB_COMMAND_TIMEOUT", "number"
        ),
        "zero": Wrong(
            {name: url, "DB_CONNECT_TIMEOUT": "0"}, "DB_CONNECT_TIMEOUT", "greater than"
        ),
        "debug": Wrong({name: url, "DEBUG": "perhaps"}, "DEBUG", "boolean"),
    }
    if variant.pool == "queuepool":
        for setting in list(TUNED)[:4]:
            wrong[setting] = Wrong({name: url, setting: "-1"}, setting, "greater than")
    if variant.pooled_endpoint:
        for alias in ("DATABASE_URL_DIRECT", "DATABASE_URL_UNPOOLED"):
            mysql = url.replace("postgresql", "mysql")
            wrong[alias] = Wrong({name: url, alias: mysql}, alias, "use postgresql://")
    if variant.database == "neon":
        for alias in ("DATABASE_URL_DIRECT", "DATABASE_URL_UNPOOLED"):
            wrong[f"pooled-{alias}"] = Wrong(
                {name: url, alias: NEON_POOLED + CONSOLE_QUERY}, alias, "Switch off"
            )
    return wrong


def test_wrong_setting_stops_the_service(
    environment: ServiceEnvironment, project: Project, variant: Variant
) -> None:
    cases = wrong_settings(variant)
    reports = probe(environment, project, [case.settings for case in cases.values()])
    for (name, case), report in zip(cases.items(), reports, strict=True):
        assert "stopped" in report, name
        message = report["stopped"]
        assert message.startswith(case.variable), f"{name}: {message}"
        assert case.remedy in message, f"{name}: {message}"
        assert "\n" not in message, name
        assert PASSWORD not in message, name


# Stale connections

pooled_variants = [variant for variant in VARIANTS if variant.pool == "queuepool"]
CHECK = "check_before_use(engine)\n"


def after_termination(
    environment: ServiceEnvironment, project: Project, url: str
) -> str:
    """Return what a request finds after its pooled connection was ended."""
    settings = {"DATABASE_URL": url, "PROBE_TERMINATE": "1"}
    (report,) = probe(environment, project, [settings])
    found: str = report["after_termination"]
    return found


@pytest.mark.parametrize("variant", pooled_variants, ids=str)
def test_stale_connection_reaches_no_request(
    environment: ServiceEnvironment, project: Project, postgres: Server
) -> None:
    assert after_termination(environment, project, postgres.url) == "new connection"


@pytest.mark.parametrize("driver", CHOICES["driver"])
def test_unchecked_pool_is_found(
    environments: Environments,
    bake: Bakery,
    postgres: Server,
    tmp_path: Path,
    driver: str,
) -> None:
    """Without the check, the probe sees a request that fails."""
    variant = next(v for v in pooled_variants if v.driver == driver)
    project = bake(variant)
    path = working_copy(project, tmp_path)
    replace_once(path / "app/core/database.py", CHECK, "")
    broken = Project(path, project.answers, variant)
    found = after_termination(environments(driver), broken, postgres.url)
    assert found.endswith("Error")


# Warnings

neon = pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v.database == "neon"], ids=str
)


@neon
def test_direct_host_with_nullpool_is_warned_of(
    environment: ServiceEnvironment, project: Project, variant: Variant
) -> None:
    hosts = [NEON_DIRECT, NEON_POOLED, PLAIN]
    settings = [{"DATABASE_URL": url + CONSOLE_QUERY} for url in hosts]
    direct, pooled, other = probe(environment, project, settings)
    assert pooled["log"] == other["log"] == []
    if variant.pool == "queuepool":
        assert direct["log"] == []
        return
    (message,) = direct["log"]
    assert message.startswith("WARNING DATABASE_URL names Neon's direct endpoint")
    assert "-pooler" in message
    assert PASSWORD not in message


def test_warning_is_in_the_log_of_the_process(
    environments: Environments, bake: Bakery, tmp_path: Path
) -> None:
    variant = next(v for v in VARIANTS if (v.database, v.pool) == ("neon", "nullpool"))
    path = working_copy(bake(variant), tmp_path)
    for name, url in {"direct": NEON_DIRECT, "pooled": NEON_POOLED}.items():
        log = tmp_path / f"{name}.log"
        environment = environments(variant.driver)
        with running_service(environment, path, log, DATABASE_URL=url) as service:
            service.stop()
        assert ("Neon's direct endpoint" in log.read_text()) == (name == "direct")


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
        found["name"] = connect["database" if driver == "asyncpg" else "dbname"]
        usual = {"user": "u", "password": "p", "host": "h", "port": 1, "name": "d"}
        assert found == usual | differences, name
        assert report["url"].startswith(f"postgresql+{driver}://"), name
        assert "ssl" not in connect, name
        assert "sslmode" not in connect, name


def connect_of(translate: Translate, driver: str, queries: list[str]) -> list[Report]:
    urls = [f"postgresql://u:p@h.example.com/d?{query}" for query in queries]
    return [report["connect"] for report in translate(driver, urls)]


@each_driver
def test_other_parameters(translate: Translate, driver: str) -> None:
    named, timed, options = connect_of(
        translate,
        driver,
        ["application_name=a%20b+c", "connect_timeout=4", "options=endpoint%3Dep-a-1"],
    )
    if driver == "asyncpg":
        assert named["server_settings"] == {"application_name": "a b+c"}
        assert timed["timeout"] == 4
        assert options["server_settings"] == {
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
        assert connect["ssl"] == query
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


def test_several_hosts(translate: Translate) -> None:
    """To psycopg they are several; asyncpg would look up a name with a comma."""
    url = f"postgresql://app:{PASSWORD}@one,two/d"
    (refused,), (taken,) = translate("asyncpg", [url]), translate("psycopg", [url])
    assert "keep one" in refused["stopped"]
    assert taken["connect"]["host"] == "one,two"


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
    f"app={PASSWORD} host=h dbname=d",
    f"postgresql+{PASSWORD}",
]


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


@each_driver
def test_connects(
    environments: Environments, bake: Bakery, local_server: OwnServer, driver: str
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
    }
    if has_ipv6():
        cases[f"{login}[::1]:{port}/postgres"] = usual
    refused = [
        f"{tcp}?sslmode=require",
        f"{tcp}?sslmode=verify-full",
        f"{tcp}?channel_binding=require",
        f"{tcp}?sslmode=require&channel_binding=require",
        tcp.replace("%", "%25"),
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


# Processes


def chosen(database: str, driver: str) -> Variant:
    return next(
        variant
        for variant in VARIANTS
        if (variant.database, variant.driver) == (database, driver)
    )


DIRECT = {
    "postgres": "DATABASE_URL",
    "neon": "DATABASE_URL_DIRECT",
    "pgbouncer": "DATABASE_URL_DIRECT",
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "app.main:app", "--port"),
    "alembic": ("alembic", "upgrade", "head"),
}


def migration_settings(variant: Variant, wrong: Wrong) -> Wrong:
    """Return the same mistake in the URL that Alembic reads, and there alone."""
    variable = DIRECT[variant.database]
    settings: dict[str, str] = {}
    if variant.pooled_endpoint:
        settings["DATABASE_URL"] = URLS[variant.database]
    if "DATABASE_URL" in wrong.settings:
        settings[variable] = wrong.settings["DATABASE_URL"]
    return Wrong(settings, variable, wrong.remedy)


def process_cases() -> list[Any]:
    """Return the wrong environments of both programs, for every database."""
    drivers = {"postgres": "asyncpg", "neon": "psycopg", "pgbouncer": "asyncpg"}
    cases = []
    for database, driver in drivers.items():
        variant = chosen(database, driver)
        names = ["missing", "empty", "mysql", "parameter"]
        if database == "neon":
            names.append("pooled-DATABASE_URL_DIRECT")
        for name in names:
            wrong = wrong_settings(variant)[name]
            pooled_for_migrations = name.startswith("pooled")
            migration = (
                wrong if pooled_for_migrations else migration_settings(variant, wrong)
            )
            cases += [
                pytest.param(variant, "uvicorn", wrong, id=f"uvicorn-{variant}-{name}"),
                pytest.param(
                    variant, "alembic", migration, id=f"alembic-{variant}-{name}"
                ),
            ]
    return cases


@pytest.mark.parametrize(("variant", "program", "wrong"), process_cases())
def test_process_stops(
    environments: Environments,
    bake: Bakery,
    variant: Variant,
    program: str,
    wrong: Wrong,
) -> None:
    command = COMMANDS[program]
    if program == "uvicorn":
        command = (*command, str(free_port()))
    settings = {"PYTHONDONTWRITEBYTECODE": "1", **wrong.settings}
    environment = environments(variant.driver)
    path = bake(variant).path
    completed = run_with(settings, environment, path, *command, check=False)
    output = completed.stdout + completed.stderr
    assert completed.returncode != 0, output
    assert output.startswith(wrong.variable), output
    assert wrong.remedy in output
    assert len(output.splitlines()) == 1, output
    assert PASSWORD not in output
