"""The table of decisions is what the rendered service of every variant does.

Each row is computed once more, from the imported service and its parsed Compose files.
All answers vary; in the quick tier, database, pool and driver in pairs.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from comparison.answers import complete
from comparison.decisions import (
    ABSENT,
    CHOICES,
    EVERY_SERVICE,
    TEXTS,
    decisions,
    table,
)
from lab.drivers import WITH_DRIVER
from lab.projects import Bakery
from lab.services import ServiceEnvironment
from lab.variants import VARIANTS, Variant
from tests.comparison.comparing import compared, edited, replace
from tests.tiers import PAIRWISE

PROBE = Path(__file__).with_name("service_probe.py")
TEST_COMPOSE = "docker-compose.test.yml"
COMPOSE_VARIABLE = re.compile(r"\$\{(\w+)(?::?([?-])([^}]*))?\}")
WAITS = {
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}
NEVER = {
    "Connections are checked": "not needed: every connection is new",
    "Waiting for a connection": "first come, first served: DB_MAX_CONNECTIONS at once",
}
# Counted on the wire, in test_round_trips.py: a transaction is two round trips.
COUNTED = {
    ("Engine", "Requests that only read"),
    ("Engine", "Requests that write"),
    ("Round trips per request", "A request that reads"),
    ("Round trips per request", "A request that writes"),
    ("Round trips per request", "Of these, to connect"),
}

Rows = dict[str, str]
Service = dict[str, Any]


@pytest.fixture(scope="module")
def seen(
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    pytestconfig: pytest.Config,
) -> Callable[[Variant], Service]:
    """Return what each variant is once it is imported. All of a driver are at once."""
    wanted = VARIANTS if pytestconfig.getoption("everything") else PAIRWISE
    found: dict[Variant, Service] = {}

    def of(variant: Variant) -> Service:
        if variant not in found:
            alike = [each for each in wanted if each.driver == variant.driver]
            printed = environments(variant.driver).run(
                PROBE.parent, PROBE.stem, *(str(bake(each).path) for each in alike)
            )
            lines = map(json.loads, printed.stdout.splitlines())
            found.update(zip(alike, lines, strict=True))
        return found[variant]

    return of


@pytest.mark.pairwise
def test_table_is_what_the_service_does(
    bake: Bakery, seen: Callable[[Variant], Service], variant: Variant
) -> None:
    project = bake(variant).path
    service = seen(variant)
    compose = services_in(project / "docker-compose.yml")
    sections = {
        "Engine": engine_rows(service),
        "Statement caching": caching_rows(service),
        "URLs": url_rows(service, compose, project),
        "TLS": tls_rows(service, compose),
        "Compose services": service_rows(compose, project),
        "Environment variables": variable_rows(service),
        "Variables in .env, for Compose": env_file_rows(project),
    }
    held = {
        (section, name): text
        for section, rows in sections.items()
        for name, text in rows.items()
    }
    shown = {
        (section, name): text
        for section, rows in table(complete(variant.answers)).items()
        for name, text in rows.items()
        if text
    }
    assert {row: shown[row] for row in shown.keys() - COUNTED} == held


def engine_rows(service: Service) -> Rows:
    """Return the rows about the engine and its pool."""
    rows = {"Driver": f"{service['driver']} ({service['dialect']})"}
    rows["Pool"] = service["pool"]
    if service["pool"] == "FairNullPool":
        return rows | NEVER
    api = service["api"]
    assert service["size"] == int(api["DB_POOL_SIZE"]["default"])
    assert service["most"] == service["size"] + int(api["DB_MAX_OVERFLOW"]["default"])
    assert service["recycle"] == int(api["DB_POOL_RECYCLE"]["default"])
    assert "DB_PING_AFTER_IDLE" in api
    return rows | {
        "Connections are checked": "after DB_PING_AFTER_IDLE seconds without use,"
        " or if the driver saw it end",
        "Waiting for a connection": "first come, first served:"
        " DB_POOL_SIZE + DB_MAX_OVERFLOW at once",
    }


def caching_rows(service: Service) -> Rows:
    """Return the rows about statement caches: 0 or None is off, nothing is on."""
    on = WITH_DRIVER[service["driver"]].caches
    assert all(text in on[name] for name, text in service["defaults"].items())
    given = service["keywords"]
    assert {given.get(name, "on") for name in on} <= {"0", "None", "on"}
    return {
        name: f"off: {given[name]}" if name in given else text
        for name, text in on.items()
    }


def url_rows(service: Service, compose: Service, project: Path) -> Rows:
    """Return the rows about URLs."""
    api = [(name, each) for name, each in service["api"].items() if each["required"]]
    ((request_variable, requests),) = api
    own = [item for item in service["migrations"].items() if item[1]["required"]]
    ((variables, migrations),) = own
    variable = variables.partition(" or ")[0]
    refused = "; a -pooler host is refused" * service["refuses_pooled"]
    tests = (project / "tests" / "__init__.py").read_text()
    local = (project / "tests" / "conftest.py").read_text()
    assert "TEST_DATABASE_URL" in tests
    assert "sqlite" in local
    migrating = compose["migrate" if "migrate" in compose else "api"]
    return {
        "API": f"{request_variable}: {purpose(requests)}",
        "Migrations": f"{variable}: {purpose(migrations)}{refused}",
        "Tests": "TEST_DATABASE_URL or --postgres, else SQLite in memory",
        "API in Compose": place(compose["api"]["environment"][request_variable]),
        "Migrations in Compose": place(migrating["environment"][variable]),
    }


def purpose(setting: Service) -> str:
    """Return what a setting is for, without the form of its URL."""
    return re.sub(r": postgresql://.*", "", setting["description"])


def place(value: str) -> str:
    """Return what a URL of Compose names, without its user and password."""
    variable = COMPOSE_VARIABLE.fullmatch(value)
    return f"{variable[1]} in .env" if variable else value.rpartition("@")[2]


def tls_rows(service: Service, compose: Service) -> Rows:
    """Return the rows about TLS: what two URLs make of the driver's arguments."""
    url = place(compose["api"]["environment"]["DATABASE_URL"])
    asked = "not asked for; used if the server has it"
    if url.endswith(" in .env"):
        asked = f"as {url.removesuffix(' in .env')} asks for it (sslmode)"
    assert "sslmode" not in url
    required, nowhere = service["tls"], service["verify_full"]
    if required["binding"] == "require":
        binding = "passed on to the driver, which binds the channel"
    else:
        assert required["verified"]
        binding = "becomes sslmode=verify-full: the driver has no channel binding"
    trusted = "the machine's authorities" + ", else certifi's" * nowhere["certifi"]
    assert nowhere["certifi"] or nowhere["authorities"] == 0
    return {
        "In Compose": asked,
        "channel_binding=require": binding,
        "verify-full trusts": trusted,
    }


def services_in(file: Path) -> Service:
    """Return the services of a Compose file."""
    services: Service = yaml.safe_load(file.read_text())["services"]
    return services


def service_rows(compose: Service, project: Path) -> Rows:
    """Return a row for each service."""
    tests = services_in(project / TEST_COMPOSE)
    return {name: described(parts) for name, parts in compose.items()} | {
        f"{name}, in {TEST_COMPOSE}": described(parts) for name, parts in tests.items()
    }


def described(service: Service) -> str:
    """Say what a service is, what it waits for, and how its health is checked."""
    image = service.get("image", "")
    pinned = image if image.startswith("postgres:") else image.partition(":")[0]
    lines = [f"image: {pinned}" if image else f"build: {service['build']['target']}"]
    lines += [f"profile: {name}" for name in service.get("profiles", [])]
    for name, wait in service.get("depends_on", {}).items():
        optional = "" if wait.get("required", True) else ", if its profile is on"
        lines.append(f"waits for: {name} {WAITS[wait['condition']]}{optional}")
    test = " ".join(
        service.get("healthcheck", {"test": ["", "not checked"]})["test"][1:]
    )
    probe = re.search(r"http://[^/]+(/[^\"]*)", test)
    checked = (
        f"GET {probe[1]}" if probe else re.sub(r"pg_isready .*", "pg_isready", test)
    )
    return "\n".join([*lines, f"health: {checked}"])


def variable_rows(service: Service) -> Rows:
    """Return a row for each variable that the code reads."""
    rows: Rows = {}
    readers: dict[str, list[str]] = {}
    for reader, fields in (("the API", "api"), ("migrations", "migrations")):
        for name, setting in service[fields].items():
            if setting["required"]:
                readers.setdefault(name, []).append(reader)
            else:
                default = str(setting["default"]).removesuffix(".0")
                rows[name] = f"optional, {default}"
    rows |= {
        name: f"required by {' and '.join(each)}" for name, each in readers.items()
    }
    return rows | {"TEST_DATABASE_URL": "optional, for the tests"}


def env_file_rows(project: Path) -> Rows:
    """Return a row for each variable of Compose, and of the example for .env."""
    example = dict(
        re.findall(
            r"^([A-Z_]+)=(.*)$", (project / ".env.example").read_text(), re.MULTILINE
        )
    )
    used = COMPOSE_VARIABLE.findall((project / "docker-compose.yml").read_text())
    required = {name for name, mark, _ in used if mark == "?"}
    rows = dict.fromkeys(required, "required")
    for name, mark, default in used:
        if mark == "-":
            assert example[name] == default
            rows[name] = f"optional, {default}"
    for name, value in example.items():
        rows.setdefault(name, "optional")
        if value and value not in rows[name]:
            rows[name] += f"; .env.example has {value}"
    return rows


@pytest.mark.pairwise
def test_every_compose_variable_is_a_setting(
    bake: Bakery, seen: Callable[[Variant], Service], variant: Variant
) -> None:
    """Without a migrate service, the API's is the one that a person migrates with."""
    compose = services_in(bake(variant).path / "docker-compose.yml")
    fields = set(seen(variant)["api"])
    if not variant.migrate_service:
        fields |= set(seen(variant)["migrations"])
    settings = {name.partition(" or ")[0] for name in fields}
    required = {name for name in settings if "DATABASE_URL" in name}
    assert required == set(compose["api"]["environment"])


def test_every_value_has_its_block() -> None:
    """With sections that stand in the table; none of them is misspelt."""
    every = [complete(variant.answers) for variant in VARIANTS]
    assert {*TEXTS} == {EVERY_SERVICE, *CHOICES}
    for choice in CHOICES:
        remedy = f"give each {choice} one block in comparison/decisions.yaml"
        assert {*TEXTS[choice]} == {answers[choice] for answers in every}, remedy
        for block in TEXTS[choice].values():
            assert block.keys() <= TEXTS[EVERY_SERVICE].keys()


def test_block_may_add_a_row_to_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new database would. The other side has no such row."""
    block = TEXTS["database"]["neon"]
    more = {**block, "TLS": {**block["TLS"], "New": "{{ cookiecutter.driver }}"}}
    monkeypatch.setitem(TEXTS["database"], "neon", more)
    neon, postgres = complete({"database": "neon"}), complete({})
    for sides in ((neon, postgres), (postgres, neon)):
        rows = [each for each in decisions(*sides) if each.section == "TLS"]
        assert rows[-1].name == "New"
        assert {rows[-1].a, rows[-1].b} == {"asyncpg", ABSENT}


def test_automatic_pool_is_the_one_that_it_leads_to() -> None:
    answers = [
        complete({"database": "neon", "pool": pool}) for pool in ("auto", "nullpool")
    ]
    assert all(each.same for each in decisions(*answers))


def test_row_that_a_side_has_not_is_marked() -> None:
    sides = complete({"pool": "nullpool"}), complete({"pool": "queuepool"})
    [size] = [each for each in decisions(*sides) if each.name == "DB_POOL_SIZE"]
    assert (size.a, size.b, size.same) == (ABSENT, "optional, 5", False)
    names = [each.name for each in decisions(sides[0], sides[0])]
    assert "DB_POOL_SIZE" not in names


def test_edited_service_shows_in_the_files_and_not_in_the_table(
    bake: Bakery, tmp_path: Path
) -> None:
    """Nothing of it is read for the table, and none of its code is run."""
    project = edited(bake, tmp_path)
    ran = tmp_path / "ran"
    (project / "app" / "__init__.py").write_text(f"open({str(ran)!r}, 'w')")
    replace(project / "docker-compose.yml", ("postgres:", "postgis/postgis:"))
    (project / "app" / "core" / "config.py").write_text("x = ]\0")
    (project / "app" / "core" / "database.py").unlink()
    data = compared(project, project / ".cookiecutter.yaml")
    assert all(each["same"] for each in data["decisions"])
    status = {each["path"]: each["status"] for each in data["files"]}
    assert not ran.exists()
    assert status == {
        "app/__init__.py": "changed",
        "app/core/config.py": "changed",
        "app/core/database.py": "only in B",
        "docker-compose.yml": "changed",
    }
