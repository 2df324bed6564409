"""The engine that a service makes of its environment, or why it stops.

Every database, pool and driver; whether a Compose service migrates is in no file that
the engine is made of. How a process ends that has a wrong environment: test_bad_input.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lab.copies import replace_once, working_copy
from lab.databases import ON_DATABASE, PASSWORD
from lab.drivers import WITH_DRIVER
from lab.pairs import one_of_each
from lab.projects import Bakery, Project
from lab.servers import Server
from lab.services import ServiceEnvironment, running_service
from lab.variants import CHOICES, FACTS, VARIANTS, Variant
from tests.service.probing import (
    SLUG,
    VERIFIED,
    Environment,
    Environments,
    Report,
    probe,
)

NEON_DIRECT = ON_DATABASE["neon"].migrations
NEON_POOLED = ON_DATABASE["neon"].requests
CONSOLE_QUERY = "?sslmode=require&channel_binding=require"
PLAIN = ON_DATABASE["postgres"].requests
# Two fields whose values say nothing.
NOT_COMPARED = ("context",)

TUNED = {
    "DB_POOL_SIZE": "7",
    "DB_MAX_OVERFLOW": "0",
    "DB_POOL_TIMEOUT": "2.5",
    "DB_POOL_RECYCLE": "60",
    "DB_MAX_CONNECTIONS": "9",
    "DB_CONNECT_TIMEOUT": "3",
    "DB_COMMAND_TIMEOUT": "4.5",
}


# Every service

SERVICES = one_of_each("database", "pool", "driver")
each_service = pytest.mark.parametrize("variant", SERVICES, ids=str)


def expected_pool(variant: Variant) -> Report:
    """Return the pool of a variant with no variable set."""
    if variant.pool == "nullpool":
        return {"class": "FairNullPool", "places": 20, "patience": 30, "recycle": -1}
    return {
        "class": "FairQueuePool",
        "places": 15,
        "patience": 30,
        "size": 5,
        "max_overflow": 10,
        "timeout": 30,
        "recycle": FACTS[variant.database]["recycle"],
    }


def expected_connect(
    variant: Variant, *, connect_timeout: float = 15, command_timeout: float = 30
) -> Report:
    """Return what the driver is given for the URL of a variant's requests."""
    url = urlsplit(ON_DATABASE[variant.database].requests)
    driver = WITH_DRIVER[variant.driver]
    arguments: Report = {
        "host": url.hostname,
        "user": url.username,
        "password": PASSWORD,
        driver.database_name: url.path.removeprefix("/"),
        **driver.arguments(SLUG, connect_timeout, command_timeout),
    }
    if url.port:
        arguments["port"] = url.port
    if variant.pooled_endpoint:
        arguments |= driver.caches_off
    return arguments


def compared(connect: Report) -> Report:
    return {key: value for key, value in connect.items() if key not in NOT_COMPARED}


@pytest.mark.pairwise
@each_service
def test_engine(
    environment: ServiceEnvironment, project: Project, variant: Variant
) -> None:
    url = ON_DATABASE[variant.database].requests
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
        expected |= {"places": 7, "patience": 2.5}
    else:
        expected |= {"places": 9, "patience": 2.5}
    assert tuned["pool"] == expected
    assert compared(tuned["connect"]) == expected_connect(
        variant, connect_timeout=3, command_timeout=4.5
    )

    assert debug["echo"] is True
    assert {**debug, "echo": False} == like(default, debug)
    assert empty == like(default, empty)

    connect = console["connect"]
    assert connect["host"] == urlsplit(NEON_POOLED).hostname
    if WITH_DRIVER[variant.driver].binds_channels:
        assert connect["sslmode"] == "require"
        assert connect["channel_binding"] == "require"
    else:
        assert connect["ssl"] == VERIFIED
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
    url = ON_DATABASE[variant.database].requests
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
        "nameless": Wrong({name: f"{url}?sslmod"}, name, "remove it"),
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
    return wrong


@pytest.mark.everything
@each_service
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

pooled_variants = [variant for variant in SERVICES if variant.pool == "queuepool"]
CHECK = "check_before_use(engine)\n"


def after_termination(
    environment: ServiceEnvironment, project: Project, url: str
) -> str:
    """Return what a request finds after its pooled connection was ended."""
    settings = {"DATABASE_URL": url, "PROBE_TERMINATE": "1"}
    (report,) = probe(environment, project, [settings])
    found: str = report["after_termination"]
    return found


@pytest.mark.pairwise
@pytest.mark.parametrize("variant", pooled_variants, ids=str)
def test_stale_connection_reaches_no_request(
    environment: ServiceEnvironment, project: Project, postgres: Server
) -> None:
    assert after_termination(environment, project, postgres.url) == "new connection"


@pytest.mark.everything
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
    "variant", [v for v in SERVICES if v.database == "neon"], ids=str
)


@pytest.mark.everything
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


@pytest.mark.everything
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
