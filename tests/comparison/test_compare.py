"""The compare command: the table of decisions, the diff, and what it refuses."""

import ast
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from environments import round_trips
from environments.compose import address
from environments.decisions import SECTIONS, UNREADABLE, decisions
from environments.engine import Engine
from environments.rendering import render
from environments.services import services_of
from environments.sides import preset_names
from lab.clones import (
    copy_template,
    localised,
    new_checkout,
    readme_commands,
    run,
    tagged_template,
)
from lab.flights import OPEN_A_CONNECTION, flight_counter
from lab.fronts import newest_tls, older_tls, other_curve, tls_front
from lab.projects import Bakery, files_of, tree_of
from lab.servers import Server
from lab.services import ServiceEnvironment, running_service
from lab.variants import CHOICES, PUBLIC, ROOT, TEXTS, VARIANTS, Variant
from tests.comparison.comparisons import (
    compare,
    compare_into,
    compared,
    pairs,
    picture_lines,
)

PICTURE = ROOT / "docs" / "local-postgres-and-production-neon.svg"
PICTURE_COMMAND = ["local-postgres", "production-neon", "--only-differences"]

Tree = dict[str, tuple[bytes, bool]]

# Where each answer shows. A difference in another file is a leak.
PLACES = {
    "database": {
        ".cookiecutter.yaml",
        ".env.example",
        "README.md",
        "alembic/env.py",
        "app/core/config.py",
        "app/core/database.py",
        "app/core/environment.py",
        "app/core/neon.py",
        "app/routers/health.py",
        "docker-compose.yml",
        "pgbouncer.ini",
        "scripts/migrate.sh",
        "tests/conftest.py",
        "tests/test_config.py",
        "tests/test_database.py",
    },
    "pool": {
        ".cookiecutter.yaml",
        "README.md",
        "app/core/config.py",
        "app/core/database.py",
        "app/core/driver.py",
        "app/core/pool.py",
        "docker-compose.yml",
        "tests/test_database.py",
        "tests/test_pool.py",
    },
    "driver": {
        ".cookiecutter.yaml",
        "README.md",
        "app/core/database.py",
        "app/core/database_url.py",
        "app/core/driver.py",
        "pyproject.toml",
        "tests/test_database.py",
        "tests/test_database_url.py",
    },
    "migrate_service": {
        ".cookiecutter.yaml",
        ".env.example",
        "README.md",
        "docker-compose.yml",
    },
    "postgres_version": {
        ".cookiecutter.yaml",
        ".github/workflows/ci.yml",
        "docker-compose.test.yml",
        "docker-compose.yml",
    },
    "python_version": {
        ".cookiecutter.yaml",
        ".github/workflows/ci.yml",
        "Dockerfile",
    },
}


def facts_of(folder: Path) -> dict[str, dict[str, str]]:
    """Return the table of decisions of one project, by section."""
    found: dict[str, dict[str, str]] = {}
    for decision in decisions(folder, folder):
        found.setdefault(decision.section, {})[decision.name] = decision.left
    return found


def changed_files(left: Tree, right: Tree) -> set[str]:
    return {
        name for name in left.keys() | right.keys() if left.get(name) != right.get(name)
    }


# What differs between any two variants


def with_versions(variant: Variant, **versions: str) -> Variant:
    """Return the variant with the given versions, else the newest ones."""
    newest = {"postgres_version": "18", "python_version": "3.14"}
    return Variant(**{**vars(variant), **newest, **versions})


SAME_VERSIONS = [with_versions(variant) for variant in VARIANTS]
OTHER_VERSIONS = [
    with_versions(VARIANTS[0], **{name: value})
    for name in ("postgres_version", "python_version")
    for value in CHOICES[name]
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Tree]:
    """Return the files of every variant."""
    folder = tmp_path_factory.mktemp("variants")
    every = dict.fromkeys([*VARIANTS, *SAME_VERSIONS, *OTHER_VERSIONS])
    return {
        variant: tree_of(render(variant.answers, folder / str(number)))
        for number, variant in enumerate(every)
    }


def differing_answers(first: Variant, second: Variant) -> list[str]:
    return [name for name in PLACES if first.answers[name] != second.answers[name]]


def leaks(first: Variant, second: Variant, changed: set[str]) -> set[str]:
    """Return the changed files that no differing answer shows in."""
    differing = differing_answers(first, second)
    return changed - {place for name in differing for place in PLACES[name]}


def test_places_name_every_answer() -> None:
    assert list(PLACES) == [name for name in PUBLIC if name not in TEXTS]


def test_differences_stay_where_the_database_shows(trees: dict[Variant, Tree]) -> None:
    leaked = {
        f"{first} and {second}": found
        for first, second in combinations(trees, 2)
        if (found := leaks(first, second, changed_files(trees[first], trees[second])))
    }
    assert leaked == {}


def test_every_listed_place_shows_its_answer(trees: dict[Variant, Tree]) -> None:
    """A list that has more places than there are would let a leak through."""
    shown: dict[str, set[str]] = {name: set() for name in PLACES}
    for first, second in combinations(trees, 2):
        differing = differing_answers(first, second)
        if len(differing) == 1:
            shown[differing[0]] |= changed_files(trees[first], trees[second])
    assert shown == PLACES


def test_leak_is_found(trees: dict[Variant, Tree]) -> None:
    first, second = SAME_VERSIONS[0], SAME_VERSIONS[-1]
    content, executable = trees[second]["app/main.py"]
    leaked = trees[second] | {"app/main.py": (content + b"# neon\n", executable)}
    changed = changed_files(trees[first], leaked)
    assert leaks(first, second, changed) == {"app/main.py"}


# The table of decisions


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Variant], Path]:
    """Render a variant once."""
    folder = tmp_path_factory.mktemp("rendered")

    @cache
    def path_of(variant: Variant) -> Path:
        return render(variant.answers, folder / str(variant))

    return path_of


def test_every_fact_is_read(
    rendered: Callable[[Variant], Path], variant: Variant
) -> None:
    facts = facts_of(rendered(variant))
    assert list(facts) == list(SECTIONS)
    assert not [section for section, found in facts.items() if UNREADABLE in found]
    assert all(value for found in facts.values() for value in found.values())


def test_facts_are_those_of_the_variant(
    rendered: Callable[[Variant], Path], variant: Variant
) -> None:
    facts = facts_of(rendered(variant))
    pooled = variant.pooled_endpoint
    assert facts["Engine"]["Driver"].startswith(variant.driver)
    assert facts["Engine"]["Pool"].startswith(
        "NullPool" if variant.pool == "nullpool" else "SteadyQueuePool"
    )
    caches = facts["Statement caching"].values()
    assert {cache.split(":")[0] for cache in caches} == {"off" if pooled else "on"}
    migrations = facts["URLs"]["Migrations"]
    assert migrations.startswith(
        "DATABASE_URL_DIRECT or" if pooled else "DATABASE_URL:"
    )
    assert ("-pooler host is refused" in migrations) == (variant.database == "neon")
    services = {name for name in facts["Compose services"] if "," not in name}
    assert services == {
        "api",
        *(["migrate"] if variant.migrate_service else []),
        *(["pgbouncer"] if variant.database == "pgbouncer" else []),
        *(["db"] if variant.local_database else []),
    }
    assert ("GET /health/live" in facts["Compose services"]["api"]) == (
        variant.database == "neon"
    )
    variables = facts["Environment variables"]
    assert ("DB_POOL_SIZE" in variables) == (variant.pool == "queuepool")
    assert variables["DATABASE_URL"].startswith("required by the API")
    env_file = facts["Variables in .env, for Compose"]
    assert ("NEON_POOLED_URL" in env_file) == (variant.database == "neon")
    assert ("POSTGRES_PASSWORD" in env_file) == variant.local_database
    binding = facts["TLS"]["channel_binding=require"]
    assert binding.startswith("becomes" if variant.driver == "asyncpg" else "passed on")


def test_every_example_variable_is_listed(
    rendered: Callable[[Variant], Path], variant: Variant
) -> None:
    project = rendered(variant)
    listed = facts_of(project)["Variables in .env, for Compose"]
    example = (project / ".env.example").read_text()
    named = re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)
    assert set(named) <= set(listed)


def test_compose_variables_reach_the_service(
    rendered: Callable[[Variant], Path], variant: Variant
) -> None:
    """What the table calls a setting is one that Compose lets a person set."""
    facts = facts_of(rendered(variant))
    compose = (rendered(variant) / "docker-compose.yml").read_text()
    for name in facts["Environment variables"]:
        if name.startswith(("DB_", "DEBUG")):
            assert name in compose


IMPORTED = """
import asyncio, json
from sqlalchemy import event
from app.core import database
from app.core.config import Settings
from app.core.database import engine

class Stop(Exception):
    pass

def intercept(dialect, entry, args, keywords):
    raise Stop(keywords)

event.listen(engine.sync_engine, "do_connect", intercept)

async def given():
    try:
        await engine.connect()
    except Stop as stop:
        return stop.args[0]

fields = {
    name.upper(): None if field.is_required() else field.default
    for name, field in Settings.model_fields.items()
}
keywords = asyncio.run(given())
print(json.dumps({
    "pool": type(engine.pool).__name__,
    "size": engine.pool.size() if hasattr(engine.pool, "size") else None,
    "places": database.admission.free._value if hasattr(database, "admission") else 0,
    "driver": engine.dialect.driver,
    "keywords": {name: str(value) for name, value in keywords.items()},
    "fields": fields,
}))
"""
DATABASES = [variant for variant in VARIANTS if variant.migrate_service]


@pytest.mark.parametrize("variant", DATABASES, ids=str)
def test_facts_are_those_of_the_imported_service(
    rendered: Callable[[Variant], Path],
    environments: Callable[[str], ServiceEnvironment],
    variant: Variant,
    tmp_path: Path,
) -> None:
    """The syntax tells what Python sees once the service is imported."""
    project = rendered(variant)
    (tmp_path / "probe.py").write_text(IMPORTED)
    completed = environments(variant.driver).run(
        tmp_path,
        "probe",
        DATABASE_URL="postgresql://app:secret@localhost/app",
        PYTHONPATH=str(project),
        PYTHONDONTWRITEBYTECODE="1",
    )
    seen = json.loads(completed.stdout)
    engine = Engine(project)
    assert seen["driver"] == engine.driver
    assert seen["pool"] == engine.pool
    if engine.keeps_connections:
        size = syntax_default(engine, "db_pool_size")
        assert seen["size"] == int(size)
        places = f"{seen['places']} (DB_POOL_SIZE + DB_MAX_OVERFLOW) at once"
        assert engine.queue == f"first come, first served: {places}"
    for name, value in engine.caches.items():
        assert seen["keywords"].get(name, "on") == value.partition(": ")[2] or (
            value.startswith("on") and name not in seen["keywords"]
        )
    settings = {
        setting.name.upper(): setting.default for setting in engine.settings.values()
    }
    expected = {
        name.upper() if name.islower() else name: None if value is None else str(value)
        for name, value in seen["fields"].items()
    }
    assert {name: text(value) for name, value in settings.items()} == expected


def syntax_default(engine: Engine, name: str) -> str:
    default = engine.settings[name].default
    assert default is not None
    return default


def text(value: str | None) -> str | None:
    """Return a default as Python has it: `None` for none."""
    return None if value in (None, "None") else value


def test_facts_come_from_the_files_and_not_from_the_answers(
    bake: Bakery, tmp_path: Path
) -> None:
    project = edited(bake, tmp_path, database="neon", pool="queuepool")
    database = project / "app" / "core" / "database.py"
    source = database.read_text()
    database.write_text(
        source.replace('"statement_cache_size": 0', '"statement_cache_size": 7')
    )
    (project / "docker-compose.yml").write_text("services:\n  other: {image: other}\n")
    facts = facts_of(project)
    assert facts["Statement caching"]["statement_cache_size"] == "7"
    assert facts["Compose services"]["other"] == "image: other\nhealth: not checked"
    assert "api" not in facts["Compose services"]
    assert facts["URLs"]["API in Compose"] == "not set"


def edited(bake: Bakery, folder: Path, **answers: object) -> Path:
    """Return a copy of a project, to be changed."""
    return Path(shutil.copytree(bake(**answers).path, folder / "my-service"))


def replace(file: Path, *changes: tuple[str, str]) -> None:
    """Replace texts in a file, each of which must be there."""
    source = file.read_text()
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    file.write_text(source)


ADMITTED = (
    "settings.db_pool_size, settings.db_max_overflow, settings.db_pool_timeout",
    "app/core/database.py",
)
ASSIGNED = ("admission = ", "app/core/database.py")
SEMAPHORE = ("pool_size + max_overflow", "app/core/pool.py")
BOTH = "15 (DB_POOL_SIZE + DB_MAX_OVERFLOW)"


@pytest.mark.parametrize(
    ("place", "new", "shown"),
    [
        (ADMITTED, "timeout=1, max_overflow=2, pool_size=3", "5 (3 + 2)"),
        (ADMITTED, "settings.db_pool_size, 2, 1", "7 (DB_POOL_SIZE + 2)"),
        (ASSIGNED, "admission: Admission = ", BOTH),
        (SEMAPHORE, "pool_size", "5 (DB_POOL_SIZE)"),
        (SEMAPHORE, "20", "20"),
        (SEMAPHORE, "2 * pool_size", "2 * DB_POOL_SIZE"),
    ],
    ids=["by-name", "by-position", "with-a-type", "one-setting", "number", "product"],
)
def test_places_are_read_where_the_semaphore_is_made(
    bake: Bakery, tmp_path: Path, place: tuple[str, str], new: str, shown: str
) -> None:
    project = edited(bake, tmp_path)
    old, file = place
    replace(project / file, (old, new))
    assert Engine(project).queue == f"first come, first served: {shown} at once"


@pytest.mark.parametrize(
    ("place", "new"),
    [
        (ADMITTED, ""),
        (ADMITTED, "*limits"),
        (ADMITTED, "1, 2, 3, 4"),
        (SEMAPHORE, "*limits"),
        (SEMAPHORE, "WIDTH"),
        (("asyncio.Semaphore", "app/core/pool.py"), "asyncio.Queue"),
        (("class Admission", "app/core/pool.py"), "class Gate"),
    ],
    ids=[
        *("no-argument", "starred", "too-many"),
        *("starred-width", "other-name", "no-semaphore", "no-class"),
    ],
)
def test_other_places_are_said_to_be_unreadable(
    bake: Bakery, tmp_path: Path, place: tuple[str, str], new: str
) -> None:
    project = edited(bake, tmp_path)
    old, file = place
    replace(project / file, (old, new))
    assert "app/core/pool.py" in facts_of(project)["Engine"][UNREADABLE]


@pytest.mark.parametrize(
    ("file", "section"),
    [
        ("app/core/database.py", "Engine"),
        ("app/core/config.py", "Environment variables"),
        ("alembic/env.py", "URLs"),
        ("app/core/driver.py", "TLS"),
        ("docker-compose.yml", "Compose services"),
    ],
)
@pytest.mark.parametrize(
    "content", [None, "x = ]", ""], ids=["gone", "broken", "empty"]
)
def test_rewritten_file_is_said_to_be_unreadable(
    bake: Bakery, tmp_path: Path, file: str, section: str, content: str | None
) -> None:
    project = edited(bake, tmp_path)
    if content is None:
        (project / file).unlink()
    else:
        (project / file).write_text(content)
    facts = facts_of(project)
    assert file in facts[section][UNREADABLE]
    assert UNREADABLE not in facts["Statement caching"] or file != "docker-compose.yml"


def test_rendering_is_the_same_as_with_hooks(bake: Bakery, tmp_path: Path) -> None:
    for number, variant in enumerate(VARIANTS[:: len(VARIANTS) // 6]):
        rendered = render(variant.answers, tmp_path / str(number))
        assert tree_of(rendered) == bake(variant).tree()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://app:${PASSWORD:?set it}@db:5432/app", "db:5432/app"),
        ("postgresql://app:s3cret@db:5432/app", "db:5432/app"),
        ("postgresql://a:b@h/app?sslmode=require", "h/app?sslmode=require"),
        ("${NEON_POOLED_URL:?set it}", "NEON_POOLED_URL in .env"),
        ("${URL}", "URL in .env"),
        ("$URL", "URL in .env"),
        ("postgresql://${USER}:${P:?set p@ss}@$HOST:5432/app", "$HOST:5432/app"),
        ("postgresql://h/app?password=s3cret", "h/app"),
        (
            "postgresql://h/app?sslmode=require&pass%77ord=s3cret",
            "h/app?sslmode=require",
        ),
        ("postgresql://h/app?sslpassword=s3cret&sslmode=allow", "h/app?sslmode=allow"),
        ("postgresql://app:s3/c:ret?s3cret#s3://cret@h/app", "h/app"),
        ("postgresql://app:s3cret@[::1/app", "[::1/app"),
        ("app:s3cret@h", "h"),
    ],
)
def test_address_shows_no_password(value: str, shown: str) -> None:
    assert address(value) == shown


@pytest.mark.parametrize(
    ("file", "old"),
    [
        (
            "docker-compose.yml",
            "postgresql://app:${POSTGRES_PASSWORD:?copy .env.example to .env}@db:5432/app",
        ),
        ("docker-compose.yml", "${API_PORT:-8000}"),
        (".env.example", "API_PORT=8000"),
    ],
    ids=["address", "default", "example"],
)
def test_table_shows_no_password(
    bake: Bakery, tmp_path: Path, file: str, old: str
) -> None:
    project = edited(bake, tmp_path)
    url = "postgresql://ada:s3cret@[::1/app?password=s3cret"
    new = {
        "${API_PORT:-8000}": f"${{API_URL:-{url}}}",
        "API_PORT=8000": f"API_URL={url}",
    }
    replace(project / file, (old, new.get(old, url)))
    found = str(facts_of(project))
    assert "[::1/app" in found
    assert "s3cret" not in found


def test_url_with_two_hosts_is_said_to_be_unreadable(
    bake: Bakery, tmp_path: Path
) -> None:
    project = edited(bake, tmp_path)
    replace(project / "docker-compose.yml", ("@db:5432/app", "s3cret@db:5432@b/app"))
    facts = facts_of(project)
    for section in ("URLs", "TLS"):
        assert "more than one @" in facts[section][UNREADABLE]
    assert "s3cret" not in str(facts)


# What a person may have made of the engine and its sessions


AUTOCOMMIT_WRITES = ("async_sessionmaker(engine,", "async_sessionmaker(read_engine,")
TRANSACTION_READS = ("    read_engine, class_", "    engine, class_")
DATABASE_FILE = "app/core/database.py"
WRITES = "Requests that write"
READS = "Requests that only read"


@pytest.mark.parametrize(
    ("change", "name", "shown"),
    [
        (AUTOCOMMIT_WRITES, WRITES, "autocommit"),
        (TRANSACTION_READS, READS, "in a transaction"),
        (("echo=", 'isolation_level="AUTOCOMMIT", echo='), WRITES, "autocommit"),
        (("poolclass=NullPool", "poolclass=pool.NullPool"), "Pool", "NullPool"),
        (("echo=", "pool_pre_ping=None, echo="), "pool_pre_ping", "None"),
    ],
    ids=["writes", "reads", "engine", "pool", "ping"],
)
def test_edited_engine_is_read(
    bake: Bakery, tmp_path: Path, change: tuple[str, str], name: str, shown: str
) -> None:
    project = edited(bake, tmp_path, pool="nullpool")
    replace(project / DATABASE_FILE, change)
    assert facts_of(project)["Engine"][name] == shown


def test_some_writes_may_be_in_autocommit(bake: Bakery, tmp_path: Path) -> None:
    project = edited(bake, tmp_path)
    users = project / "app" / "routers" / "users.py"
    replace(users, ("new: UserCreate, session: S", "new: UserCreate, session: ReadS"))
    facts = facts_of(project)
    assert facts["Engine"][WRITES] == "some in a transaction, some in autocommit"
    assert facts["Engine"][READS] == "autocommit"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("settings.db_cache", "off: 0 (DB_CACHE)"),
        ("None", "off: None"),
        ("''", ""),
        ("5 * 5", "5 * 5"),
    ],
)
def test_statement_cache_is_read(
    bake: Bakery, tmp_path: Path, value: str, shown: str
) -> None:
    project = edited(bake, tmp_path)
    cache = f'"statement_cache_size": {value}, "command_timeout"'
    replace(project / DATABASE_FILE, ('"command_timeout"', cache))
    setting = ("debug: bool = False", "debug: bool = False\n    db_cache: int = 0")
    replace(project / "app" / "core" / "config.py", setting)
    assert facts_of(project)["Statement caching"]["statement_cache_size"] == shown


CONNECT_ARGS = ("connect_args={", "connect_args=arguments or {")


@pytest.mark.parametrize(
    ("file", "change", "sections"),
    [
        (DATABASE_FILE, CONNECT_ARGS, ["Engine", "Statement caching"]),
        (DATABASE_FILE, ("**connect_arguments(", "**other("), ["Statement caching"]),
        (DATABASE_FILE, ('"command_timeout"', "NAME"), ["Statement caching"]),
        (DATABASE_FILE, ("echo=settings.debug", "**options"), ["Engine"]),
        (DATABASE_FILE, ("echo=", "pool_pre_ping=ask, echo="), ["Engine"]),
        (DATABASE_FILE, ('"AUTOCOMMIT"', "LEVEL"), ["Engine"]),
        (
            "app/core/driver.py",
            ('"timeout": ', '"statement_cache_size": 0, "timeout": '),
            ["Statement caching"],
        ),
        (
            "app/routers/users.py",
            ("session: SessionDep", "session: Session"),
            ["Engine"],
        ),
    ],
    ids=[
        *("no-literal", "other-call", "other-key", "options", "ping", "level"),
        *("driver", "router"),
    ],
)
def test_other_engine_is_said_to_be_unreadable(
    bake: Bakery,
    tmp_path: Path,
    file: str,
    change: tuple[str, str],
    sections: list[str],
) -> None:
    project = edited(bake, tmp_path)
    replace(project / file, change)
    facts = facts_of(project)
    for section in [*sections, "Round trips per request"]:
        assert list(facts[section]) == [UNREADABLE]


# What a person may have made of the Compose files


SHAPES = {
    "environment": ("environment: [A=b, C, D=]", {"A": "b", "C": None, "D": ""}),
    "null": ("environment:", {}),
    "numbers": ("environment: {A: 5, 6: null}", {"A": "5", "6": None}),
}


@pytest.mark.parametrize(("text", "expected"), SHAPES.values(), ids=list(SHAPES))
def test_environment_is_read_in_every_shape(
    tmp_path: Path, text: str, expected: dict[str, str | None]
) -> None:
    (tmp_path / "x.yml").write_text(f"services:\n  a:\n    {text}\n")
    assert services_of(tmp_path, "x.yml")["a"].environment == expected


DESCRIBED = {
    "string-build": ("build: .", "build: .\nhealth: not checked"),
    "profiles": ("profiles: [a, 5]", "profile: a, 5\nhealth: not checked"),
    "list": ("depends_on: [db, b]", "waits for: db started\nwaits for: b started"),
    "null": ("depends_on: {db: null}", "waits for: db started"),
    "nothing": ("depends_on:", "image: i\nhealth: not checked"),
    "odd-condition": ("depends_on: {db: {condition: [x]}}", "waits for: db started"),
    "disabled": ("healthcheck: {disable: true, test: x}", "health: not checked"),
    "none": ("healthcheck: {test: [NONE]}", "health: not checked"),
    "no-check": ("healthcheck: {}", "health: not checked"),
    "shell": ("healthcheck: {test: a b}", "health: a b, every 30s"),
    "words": ("healthcheck: {test: [CMD, a, 5]}", "health: a 5, every 30s"),
    "interval": ("healthcheck: {interval: 5s}", "health: the image's own, every 5s"),
}


@pytest.mark.parametrize(("text", "expected"), DESCRIBED.values(), ids=list(DESCRIBED))
def test_service_is_read_in_every_shape(
    bake: Bakery, tmp_path: Path, text: str, expected: str
) -> None:
    project = edited(bake, tmp_path)
    compose = f"services:\n  a:\n    image: i\n    {text}\n"
    (project / "docker-compose.yml").write_text(compose)
    assert expected in facts_of(project)["Compose services"]["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "docker-compose.yml is no mapping"),
        ("services: 5", "docker-compose.yml: services is no mapping"),
        ("services: {a: 5}", "docker-compose.yml: a is no mapping"),
        ("services: {a: {environment: 5}}", "a: environment is no mapping"),
        ("services: {a: {depends_on: 5}}", "a: depends_on is no mapping"),
        ("services: {a: {depends_on: {db: 5}}}", "a: depends_on: db is no mapping"),
        ("services: {a: {healthcheck: x}}", "a: healthcheck is no mapping"),
        ("services: {a: {profiles: x}}", "a: profiles is no mapping"),
        ("services: !reset {}", "docker-compose.yml cannot be read: could not"),
        (
            "services: {a: {image: 2026-02-30}}",
            "docker-compose.yml cannot be read: day",
        ),
        ("# \xe9", "docker-compose.yml cannot be read"),
    ],
)
def test_other_compose_file_is_said_to_be_unreadable(
    bake: Bakery, tmp_path: Path, text: str, message: str
) -> None:
    project = edited(bake, tmp_path)
    (project / "docker-compose.yml").write_text(text, encoding="latin-1")
    assert message in facts_of(project)["Compose services"][UNREADABLE]


@pytest.mark.parametrize(
    ("file", "section"),
    [
        ("docker-compose.yml", "Variables in .env, for Compose"),
        (".env.example", "Variables in .env, for Compose"),
        ("app/core/database.py", "Engine"),
    ],
)
def test_file_that_is_no_text_is_said_to_be_unreadable(
    bake: Bakery, tmp_path: Path, file: str, section: str
) -> None:
    project = edited(bake, tmp_path)
    (project / file).write_bytes(b"# \xe9\n")
    assert facts_of(project)[section] == {UNREADABLE: f"{file} cannot be read"}
    assert compare(project, "database=neon").returncode == 0


@pytest.mark.parametrize("text", ["\0", "(" * 5000], ids=["nul", "deep"])
def test_odd_python_file_is_said_to_be_unreadable(
    bake: Bakery, tmp_path: Path, text: str
) -> None:
    project = edited(bake, tmp_path)
    (project / "app" / "core" / "database.py").write_text(text)
    assert "app/core/database.py" in facts_of(project)["Engine"][UNREADABLE]


# Round trips


WIRED = [variant for variant in DATABASES if variant.database != "pgbouncer"]


@pytest.mark.parametrize("variant", WIRED, ids=str)
def test_round_trips_are_those_on_the_wire(
    rendered: Callable[[Variant], Path],
    environments: Callable[[str], ServiceEnvironment],
    postgres: Server,
    variant: Variant,
    tmp_path: Path,
) -> None:
    """PgBouncer's variants have Neon's engine. The server has no TLS."""
    project = rendered(variant)
    environment = environments(variant.driver)
    found = flights_of(project, environment, postgres, tmp_path / "log")
    engine = Engine(project)
    cost = {round_trips.read_cost(engine)}, {round_trips.write_cost(engine)}
    assert found == cost


@pytest.mark.parametrize(
    "variant", [each for each in WIRED if each.pool == "queuepool"], ids=str
)
def test_round_trips_of_an_edited_service_are_those_on_the_wire(
    rendered: Callable[[Variant], Path],
    environments: Callable[[str], ServiceEnvironment],
    postgres: Server,
    variant: Variant,
    tmp_path: Path,
) -> None:
    """A query before each request, reads in a transaction, and writes in none."""
    project = Path(shutil.copytree(rendered(variant), tmp_path / "my-service"))
    ping = ("    pool_recycle=", "    pool_pre_ping=True,\n    pool_recycle=")
    replace(project / DATABASE_FILE, ping, TRANSACTION_READS, AUTOCOMMIT_WRITES)
    environment = environments(variant.driver)
    found = flights_of(project, environment, postgres, tmp_path / "log")
    engine = Engine(project)
    cost = {round_trips.read_cost(engine)}, {round_trips.write_cost(engine)}
    assert found == cost
    untouched = Engine(rendered(variant))
    assert round_trips.read_cost(engine) > round_trips.read_cost(untouched)
    assert round_trips.ping_cost(engine) > round_trips.ping_cost(untouched) == 0


def flights_of(
    project: Path,
    environment: ServiceEnvironment,
    postgres: Server,
    log: Path,
) -> tuple[set[int], set[int]]:
    """Return the flights of requests that read, and of those that write."""
    database = postgres.create_database()
    environment.run(
        project,
        *("alembic", "upgrade", "head"),
        DATABASE_URL=database.url,
        DATABASE_URL_DIRECT=database.url,
    )
    address = urlsplit(database.url)
    assert address.hostname is not None
    assert address.port is not None
    with flight_counter(address.hostname, address.port) as counter:
        through = database.url.replace(str(address.port), str(counter.port))
        with (
            running_service(environment, project, log, DATABASE_URL=through) as service,
            httpx2.Client(base_url=service.url) as client,
        ):
            reads, writes = requests(client, counter.take)
    return set(reads), set(writes)


def requests(
    client: httpx2.Client, take: Callable[[], tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Return the flights of some requests that read, and of some that write.

    The first ones are not counted: they fill the pool, and psycopg prepares a
    statement when it runs for the 6th time.
    """
    reads, writes = [], []
    for number in range(9):
        person = {"name": "Ada", "email": f"ada{number}@example.com"}
        assert client.post("/users", json=person).status_code == httpx2.codes.CREATED
        writes.append(settled(take))
        assert client.get("/users/1").status_code == httpx2.codes.OK
        reads.append(settled(take))
    return reads[7:], writes[7:]


def settled(take: Callable[[], tuple[int, int]]) -> int:
    """Return the flights since the last call, once there come no more."""
    flights = 0
    while True:
        time.sleep(0.05)
        more, _ = take()
        if not more:
            return flights
        flights += more


@pytest.mark.parametrize("driver", CHOICES["driver"])
def test_connections_cost_what_is_counted_with_tls(
    environments: Callable[[str], ServiceEnvironment], postgres: Server, driver: str
) -> None:
    """The closing message is not counted, which TLS hides: none is sent."""
    server = urlsplit(postgres.url)
    host, port = server.hostname or "", server.port or 5432

    def flights(host: str, port: int, mode: str) -> int:
        with flight_counter(host, port) as counter:
            user = server.netloc.rpartition("@")[0]
            url = f"postgresql://{user}@127.0.0.1:{counter.port}{server.path}"
            script = OPEN_A_CONNECTION[driver]
            environments(driver).run_script(script, f"{url}?sslmode={mode}")
            return counter.take()[0]

    def flights_with_tls(context: ssl.SSLContext) -> int:
        with tls_front(host, port, context) as front:
            return flights("127.0.0.1", front.port, "require")

    plain = flights(host, port, "prefer")
    newest = flights_with_tls(newest_tls())
    others = {flights_with_tls(other_curve()), flights_with_tls(older_tls())}
    assert plain == round_trips.CONNECT
    assert others == {plain + round_trips.MOST_TLS}
    text = f"{plain}, with TLS {newest} or {others.pop()}"
    assert round_trips.with_tls(plain, connect=plain) == text


# Each kind of side


def test_presets() -> None:
    data = compared("local-postgres", "production-neon")
    assert (data["a"], data["b"]) == ("local-postgres", "production-neon")
    changed = {each["path"] for each in data["files"]}
    assert ".env.example" in changed
    assert "app/main.py" not in changed
    assert data["left_behind"] == []
    assert not data["same"]


def test_all_kinds_of_a_side_mean_the_same(bake: Bakery) -> None:
    variant = VARIANTS[-1]
    project = bake(variant).path
    answers_file = project / ".cookiecutter.yaml"
    sides = [str(project), str(answers_file), pairs(variant)]
    for first, second in combinations(sides, 2):
        assert compared(first, second)["same"], (first, second)


def test_answers_may_follow_a_base(bake: Bakery) -> None:
    data = compared("production-neon,pool=nullpool", "serverless-neon")
    assert data["same"]
    folder = bake(database="neon").path
    data = compared(f"{folder},database=postgres", "database=postgres")
    assert data["same"]


def test_relative_paths_are_those_of_the_current_folder(bake: Bakery) -> None:
    project = bake().path
    assert compared(".", ".cookiecutter.yaml", folder=project)["same"]
    assert compared(".", f"../{project.name}", folder=project)["same"]


def test_names_are_taken_from_the_other_side(bake: Bakery) -> None:
    """Otherwise every file with the name of the service would differ."""
    project = bake(project_name="Orders", full_name="Ada").path
    data = compared(project, "database=neon")
    changed = {each["path"] for each in data["files"]}
    assert "app/main.py" not in changed
    assert changed <= PLACES["database"] | PLACES["pool"]


def test_value_may_have_commas(bake: Bakery) -> None:
    project = bake(description="Fast, safe, and small").path
    assert compared(project, "driver=asyncpg,description=Fast, safe, and small")["same"]


def test_value_may_be_longer_than_a_file_name() -> None:
    assert compared(f"description={'long ' * 60}.", "driver=asyncpg")["same"]


def test_value_may_look_like_a_template(bake: Bakery) -> None:
    project = bake(description="{{ '{' }}{ x }}").path
    assert compared(project, project / ".cookiecutter.yaml")["same"]


def test_files_of_a_persons_own_are_named_and_not_shown(
    bake: Bakery, tmp_path: Path
) -> None:
    project = edited(bake, tmp_path)
    (project / "notes.txt").write_text("our own notes")
    (project / ".env").write_text("POSTGRES_PASSWORD=unseen-7391")
    data = compared(project, project / ".cookiecutter.yaml")
    assert data["same"]
    assert data["own_files"] == ["notes.txt"]
    printed = compare(project, "database=neon").stdout
    assert "notes.txt" in printed
    assert "our own notes" not in printed
    assert "unseen-7391" not in printed


def test_edited_file_is_shown(bake: Bakery, tmp_path: Path) -> None:
    project = edited(bake, tmp_path)
    (project / "app" / "main.py").write_text("app = None")
    (project / "app" / "errors.py").unlink()
    data = compared(project, project / ".cookiecutter.yaml")
    status = {each["path"]: each["status"] for each in data["files"]}
    assert status == {"app/main.py": "changed", "app/errors.py": "only in B"}
    assert "\\ No newline at end of file" in data["files"][1]["diff"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_changed_mode_is_shown(bake: Bakery, tmp_path: Path) -> None:
    project = edited(bake, tmp_path)
    script = project / "scripts" / "migrate.sh"
    script.chmod(0o644)
    answers_file = project / ".cookiecutter.yaml"
    [file] = compared(project, answers_file)["files"]
    assert file["path"] == "scripts/migrate.sh"
    assert file["status"] == "changed"
    names = "a/scripts/migrate.sh b/scripts/migrate.sh"
    mode = [f"diff --git {names}", "old mode 100644", "new mode 100755"]
    assert file["diff"] == mode
    completed = compare(project, answers_file, "--exit-code")
    assert completed.returncode == 1
    assert "\n".join(mode) in completed.stdout
    script.write_text("exit\n")
    [file] = compared(project, answers_file)["files"]
    assert file["diff"][:4] == [*mode, "--- a/scripts/migrate.sh"]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (b"\xe9\n", b"\xe8\n"),
        (b"\xe9\n", b"e\n"),
        (b"\xe9\n", "\ufffd\n".encode()),
        (b"a\0b\n", b"a\0c\n"),
    ],
    ids=["latin-1", "latin-1-and-ascii", "latin-1-and-replacement", "nul"],
)
def test_bytes_that_are_no_text_are_said_to_differ(
    bake: Bakery, tmp_path: Path, mine: bytes, theirs: bytes
) -> None:
    left, right = edited(bake, tmp_path / "a"), edited(bake, tmp_path / "b")
    (left / "README.md").write_bytes(mine)
    (right / "README.md").write_bytes(theirs)
    [file] = compared(left, right)["files"]
    assert file["diff"] == ["Binary files a/README.md and b/README.md differ"]
    (right / "README.md").unlink()
    [file] = compared(left, right)["files"]
    assert file["status"] == "only in A"
    assert file["diff"] == ["Binary files a/README.md and /dev/null differ"]


DIFFERENT = {
    "no-newline": (b"a\nb", b"a\nb\n"),
    "note-of-diff": (b"a", b"a\n\\ No newline at end of file\n"),
    "line-endings": (b"a\r\nb\r\n", b"a\nb\n"),
    "empty": (b"", b"a\n"),
    "other-line-breaks": (b"a\x0cb\xc2\x85c\rd\n", b"a\x0cb\xc2\x85c\re\n"),
}


@pytest.mark.parametrize(("mine", "theirs"), DIFFERENT.values(), ids=list(DIFFERENT))
def test_diff_turns_one_file_into_the_other(
    bake: Bakery, tmp_path: Path, mine: bytes, theirs: bytes
) -> None:
    left, right = edited(bake, tmp_path / "a"), edited(bake, tmp_path / "b")
    (left / "README.md").write_bytes(mine)
    (right / "README.md").write_bytes(theirs)
    [file] = compared(left, right)["files"]
    patch = "".join(f"{line}\n" for line in file["diff"])
    (tmp_path / "patch").write_bytes(patch.encode())
    run(left, "git", "apply", "--no-index", "../../patch")
    assert (left / "README.md").read_bytes() == theirs


# What it prints


def test_table_comes_before_the_diff() -> None:
    printed = compare("local-postgres", "production-neon").stdout
    assert printed.index("Round trips per request") < printed.index("--- a/")
    assert "\x1b[" not in printed


def test_terminal_is_coloured() -> None:
    printed = compare(*PICTURE_COMMAND, FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert "\x1b[31m-" in printed
    assert "\x1b[32m+" in printed


ODD_NAMES = ["w [/x] y", "[bold]x[/bold]", ":rocket:", "a, b", "é"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_printed_as_they_are(bake: Bakery, tmp_path: Path, name: str) -> None:
    project = tmp_path / name
    project.parent.mkdir(exist_ok=True)
    edited(bake, tmp_path / "new").rename(project)
    own = project / "own" / name
    own.parent.mkdir(parents=True)
    own.write_text("own")
    completed = compare(name, "database=neon", folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert f" A: {name} " in completed.stdout
    assert f"left alone: own/{name}\n" in completed.stdout


ESCAPE = "\x1b]0;title\x07\r"
ESCAPED = "\\x1b]0;title\\x07\\r"
NOT_UTF8 = os.fsdecode(b"\xff")


def odd_project(bake: Bakery, folder: Path) -> Path:
    """Return a project with escapes in its name, in its texts and beside them."""
    made = edited(bake, folder, database="pgbouncer", description="plain")
    project = made.rename(folder / f"service{ESCAPE}")
    (project / f"notes{ESCAPE}\n{NOT_UTF8}").touch()
    replace(project / "app" / "main.py", ("plain", f"plain {ESCAPE}"))
    service = 'services:\n  odd: {image: "\\e[31mred"}\n'
    replace(project / "docker-compose.yml", ("services:\n", service))
    return project


def test_nothing_is_printed_that_a_terminal_obeys(bake: Bakery, tmp_path: Path) -> None:
    project = odd_project(bake, tmp_path)
    completed = compare(project.name, "database=neon", folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    printed = completed.stdout
    assert {each for each in printed if ord(each) < ord(" ")} == {"\n"}
    assert f" A: service{ESCAPED} " in printed
    assert f"left alone: notes{ESCAPED}\\n\\xff\n" in printed
    assert f"plain {ESCAPED}" in printed
    assert "\x1b" not in compare(f"{ESCAPE}=x", "a=b").stderr
    assert "\x1b" not in compare("--check", project / f"none{ESCAPE}").stderr
    assert "\x1b" not in compare(f"--{ESCAPE}").stderr


def test_printed_command_is_for_the_folder_itself(bake: Bakery, tmp_path: Path) -> None:
    project = new_checkout(odd_project(bake, tmp_path))
    printed = compare(project, f"{project},database=neon").stdout
    [line] = [line for line in printed.splitlines() if "git -C" in line]
    run(tmp_path, "bash", "-ec", line)
    assert not (project / "pgbouncer.ini").exists()


def test_command_needs_a_clone_and_uv_alone(tmp_path: Path) -> None:
    """`uv run` installs what the script's own header asks for."""
    template = copy_template(tmp_path / "template")
    completed = subprocess.run(
        ["uv", "run", "compare.py", "local-postgres", "serverless-neon", "--exit-code"],
        cwd=template,
        env={
            name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1, completed.stderr
    assert "Round trips per request" in completed.stdout
    assert not (template / ".venv").exists()


def test_only_differences() -> None:
    everything = compared("local-postgres", "production-neon")["decisions"]
    some = compared(*PICTURE_COMMAND)["decisions"]
    assert some == [each for each in everything if not each["same"]]
    assert 0 < len(some) < len(everything)


def test_same_sides() -> None:
    completed = compare("local-postgres", "local-postgres", "--exit-code")
    assert completed.returncode == 0
    assert "No file differs." in completed.stdout
    assert "--- " not in completed.stdout


def test_no_table_is_printed_where_it_has_no_rows(tmp_path: Path) -> None:
    same = ["local-postgres", "local-postgres", "--only-differences"]
    assert compare(*same).stdout == "No file differs.\n"
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    assert compare(*same, "--html", page, "--svg", picture).returncode == 0
    assert picture_lines(picture.read_text(encoding="utf-8")) == ["No file differs."]
    text = page.read_text(encoding="utf-8")
    assert "<p>No decision differs.</p>" in text
    assert "<table" not in text
    files = ["python_version=3.13", "python_version=3.12", "--only-differences"]
    assert compare(*files).stdout.startswith("0 decisions and 3 files differ.\n")


def test_exit_code_of_differing_sides() -> None:
    sides = ["local-postgres", "production-neon"]
    assert compare(*sides).returncode == 0
    assert compare(*sides, "--exit-code").returncode == 1


SIDES = ["local-postgres", "production-neon"]
PRINTED = {
    "table": SIDES,
    "json": [*SIDES, "--json"],
    "check": ["--check", str(ROOT / "presets" / "local-postgres.yaml")],
    "help": ["--help"],
}


@pytest.mark.skipif(os.name == "nt", reason="It closes a POSIX pipe")
@pytest.mark.parametrize("arguments", PRINTED.values(), ids=list(PRINTED))
def test_reader_may_close_the_pipe(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    completed = compare_into(writer, *arguments)
    os.close(writer)
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="It closes a POSIX pipe")
def test_exit_code_does_not_need_a_reader() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert compare_into(writer, *SIDES, "--exit-code").returncode == 1
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="There is no /dev/full")
@pytest.mark.parametrize("arguments", PRINTED.values(), ids=list(PRINTED))
def test_full_disk_gets_one_clear_line(arguments: list[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        completed = compare_into(full, *arguments)
    message = "compare.py: standard output: No space left on device\n"
    assert (completed.returncode, completed.stderr) == (2, message)


@pytest.mark.skipif(os.name == "nt", reason="It needs a POSIX shell")
@pytest.mark.parametrize("arguments", PRINTED.values(), ids=list(PRINTED))
def test_closed_output_gets_one_clear_line(arguments: list[str]) -> None:
    program = [sys.executable, str(ROOT / "compare.py"), *arguments]
    completed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    message = "compare.py: standard output is closed\n"
    assert (completed.returncode, completed.stderr) == (2, message)


def test_output_may_have_few_characters(bake: Bakery) -> None:
    folder = bake(description="Größe 你好").path
    completed = compare(folder, "database=neon", PYTHONIOENCODING="ascii")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "Gr\\xf6\\xdfe \\u4f60\\u597d" in completed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs two sides, A and B, but was given nothing"),
        (["local-postgres"], "needs two sides, A and B, but was given local-postgres"),
        (["a", "b", "c"], "needs two sides"),
        (["prodution-neon", "a=b"], "did you mean production-neon?"),
        (["tests", "local-postgres"], "tests: has no .cookiecutter.yaml"),
        (["README.md", "local-postgres"], "README.md: is not YAML"),
        (["pyproject.toml", "local-postgres"], "pyproject.toml: "),
        (
            ["databse=neon", "a=b"],
            "databse: is no question of the template; did you mean",
        ),
        (["database=neno", "a=b"], "must be one of postgres, neon, pgbouncer; did you"),
        (["migrate_service=maybe", "a=b"], "must be true or false"),
        (["project_slug=a/b", "a=b"], "project_slug: must be lower-case"),
        (["description={{ x }}", "a=b"], "description: cannot be rendered"),
        (["description={% x", "a=b"], "description: cannot be rendered"),
        (["description={{ 1/0 }}", "a=b"], "cannot be rendered: division by zero"),
        (["description={{ 'a' + 1 }}", "a=b"], "description: cannot be rendered"),
        (["driver=asyncpg,driver=psycopg", "a=b"], "driver: is given more than once"),
        (["x" * 300, "a=b"], "x: File name too long"),
        (["local-postgres,pool", "a=b"], "'pool' is no key=value"),
        (["", "a=b"], "an empty name"),
        (["local-postgres", "production-neon", "--bogus"], "--bogus"),
        (["local-postgres", "production-neon", "--html", "no/x"], "no/x: No such file"),
        (["local-postgres", "production-neon", "--html"], "expected one argument"),
        (["local-postgres", "production-neon", "--html", ""], "an empty name: "),
        (["local-postgres", "production-neon", "--svg", "."], ".: Is a directory"),
        (["--check", "x", "local-postgres"], "--check takes one file"),
        (["--check", "", "local-postgres"], "--check takes one file"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_argument_gets_one_clear_line(arguments: list[str], message: str) -> None:
    completed = compare(*arguments)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1
    assert completed.stderr.startswith("compare.py: ")
    assert message in completed.stderr


def test_help_names_the_presets() -> None:
    printed = " ".join(compare("--help").stdout.split())
    assert all(name in printed for name in preset_names())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template")
    home = tmp_path / "home"
    home.mkdir()
    before = tree_of(template)
    subprocess.run(
        [sys.executable, "-B", "compare.py", "local-postgres", "production-neon"],
        cwd=template,
        env=os.environ | {"HOME": str(home), "TMPDIR": str(home)},
        capture_output=True,
        check=True,
    )
    assert files_of(home) == []
    assert tree_of(template) == before


def test_settings_of_the_person_do_not_matter(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("default_context:\n  full_name: Ada\n  database: neon\n")
    completed = compare(
        *("database=postgres", "driver=asyncpg"),
        COOKIECUTTER_CONFIG=str(settings),
        HOME=str(tmp_path),
    )
    assert "No file differs." in completed.stdout


# The check of an answers file


def checked(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Check the answers file that holds a text."""
    (folder / "answers.yaml").write_text(text)
    return compare("--check", "answers.yaml", folder=folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{description: '{{ 1/0 }}'}", "description: cannot be rendered: division by"),
        ("{description: '{{ \"a\" + 1 }}'}", "description: cannot be rendered: can"),
        ("{description: 2026-02-30}", "is not YAML: day is out of range for month"),
        ("{description: !!bool x}", "is not YAML: "),
        ("[" * 5000, "is not YAML: maximum recursion depth exceeded"),
        ("{driver: asyncpg, <<: {}, driver: asyncpg}", "driver: is given more than"),
        ("{<<: {pool: always}}", "pool: is 'always', but must be one of"),
        ("{<<: neon}", "is not YAML: "),
    ],
    ids=[
        *("zero-division", "type-error", "no-date", "no-switch", "deep"),
        *("repeated-key", "bad-merged-answer", "bad-merge"),
    ],
)
def test_check_gets_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    completed = checked(tmp_path, f"default_context: {text}")
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1
    assert completed.stderr.startswith(f"answers.yaml: {message}")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("{database: neon}", "1 answer"),
        ("{<<: {database: neon}, driver: psycopg}", "2 answers"),
        ("{<<: {database: neon}, database: postgres}", "1 answer"),
        ("{<<: [{database: neon}, {driver: psycopg}]}", "2 answers"),
    ],
    ids=["one", "merged", "merged-and-replaced", "merged-twice"],
)
def test_check_takes_what_yaml_can_say(tmp_path: Path, text: str, number: str) -> None:
    completed = checked(tmp_path, f"default_context: {text}")
    taken = f"answers.yaml: {number}, and Cookiecutter takes each of them.\n"
    assert (completed.returncode, completed.stdout) == (0, taken)


def test_check_of_a_folder_names_its_file(bake: Bakery) -> None:
    completed = compare("--check", bake().path)
    assert completed.returncode == 1
    assert completed.stderr.endswith(": is a folder: give its .cookiecutter.yaml\n")


# The page


class PageReader(HTMLParser):
    """Reads a page: its rows, what it loads, and whether its elements are closed."""

    EMPTY = ("meta", "input", "br", "link", "img")
    CELLS = ("th", "td")

    def __init__(self, html: str) -> None:
        """Read the page at once."""
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is opened and loaded."""
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in self.CELLS:
            self.rows[-1].append("")
        names = ("src", "href", "srcset", "action")
        self.loaded += [f"{tag} {name}" for name, _ in attrs if name in names]
        self.loaded += [tag] if tag in ("script", "link", "iframe") else []

    def handle_endtag(self, tag: str) -> None:
        """Note what is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.text += data
        if self.open and self.open[-1] in self.CELLS:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the page of two presets."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    completed = compare("local-postgres", "production-neon", "--html", file)
    assert (completed.returncode, completed.stdout) == (0, "")
    return file.read_text(encoding="utf-8")


def test_page_has_all_that_the_terminal_shows(html: str) -> None:
    page = PageReader(html)
    assert page.open == []
    data = compared(*SIDES)
    head = ["Decision", f"A: {data['a']}", f"B: {data['b']}"]
    assert page.rows == [head, *rows_of(data["decisions"])]
    assert {each["same"] for each in data["decisions"]} == {True, False}
    for file in data["files"]:
        assert f"{file['path']} {file['status']}" in page.text
        assert "".join(file["diff"]) in page.text


def rows_of(decisions: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table: each section, and its decisions."""
    rows: list[list[str]] = []
    section = ""
    for each in decisions:
        if each["section"] != section:
            section = each["section"]
            rows.append([section])
        values = [each["a"]] if each["same"] else [each["a"], each["b"]]
        rows.append([each["name"], *values])
    return rows


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="There is no /dev/full")
def test_page_on_a_full_disk_gets_one_clear_line() -> None:
    completed = compare(*SIDES, "--html", "/dev/full")
    message = "compare.py: /dev/full: No space left on device\n"
    assert (completed.returncode, completed.stderr) == (2, message)
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(os.name == "nt", reason="It limits the size of files")
@pytest.mark.parametrize("before", [None, "the old page"], ids=["new", "old"])
def test_page_is_written_as_a_whole_or_not_at_all(
    tmp_path: Path, before: str | None
) -> None:
    """The rendered files are small enough for the limit, and the page is not."""
    file = tmp_path / "page.html"
    if before is not None:
        file.write_text(before)
    program = [sys.executable, str(ROOT / "compare.py"), *SIDES, "--html", str(file)]
    completed = subprocess.run(
        ["sh", "-c", 'ulimit -f 50; exec "$@"', "sh", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    message = f"compare.py: {file}: File too large\n"
    assert (completed.returncode, completed.stderr) == (2, message)
    assert files_of(tmp_path) == ([] if before is None else [file.name])
    assert before is None or file.read_text() == before


@pytest.mark.skipif(os.name == "nt", reason="It needs symbolic links and modes")
def test_page_replaces_what_a_link_names(tmp_path: Path) -> None:
    file, link = tmp_path / "page.html", tmp_path / "link.html"
    file.touch(mode=0o640)
    link.symlink_to(file.name)
    assert compare(*SIDES, "--html", link).returncode == 0
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="It needs a named pipe")
def test_page_may_go_into_a_pipe() -> None:
    completed = compare(*SIDES, "--html", "/dev/stderr")
    assert completed.stderr.startswith("<!DOCTYPE html>")


def test_page_shows_odd_names_and_texts(bake: Bakery, tmp_path: Path) -> None:
    project = odd_project(bake, tmp_path)
    file = tmp_path / "page.html"
    assert compare(project, "database=neon", "--html", file).returncode == 0
    text = PageReader(file.read_text(encoding="utf-8")).text
    assert f"left alone: notes{ESCAPED}\\n\\xff\n" in text
    assert f"plain {ESCAPED}" in text
    assert "\x1b" not in text


def test_picture_shows_odd_names_and_texts(bake: Bakery, tmp_path: Path) -> None:
    project = odd_project(bake, tmp_path)
    file = tmp_path / "picture.svg"
    assert compare(project, "database=neon", "--svg", file).returncode == 0
    lines = picture_lines(file.read_text(encoding="utf-8"))
    assert any("image: \\x1b[31mred" in line for line in lines)


def test_page_needs_nothing_else(html: str) -> None:
    assert PageReader(html).loaded == []
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_page_fits_every_screen(html: str) -> None:
    assert 'name="viewport" content="width=device-width' in html
    assert "color-scheme: light dark" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media (max-width:" in html


def test_page_escapes_what_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    name = '<script>alert(1)</script> & "quotes"'
    completed = compare(
        f"project_name={name}", "project_name=Plain,database=neon", "--html", file
    )
    assert completed.returncode == 0, completed.stderr
    page = PageReader(file.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.loaded == []
    assert name in page.text


# The picture


def test_picture_in_the_readme_is_the_tools(tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    completed = compare(*PICTURE_COMMAND, "--svg", file)
    assert (completed.returncode, completed.stdout) == (0, "")
    remedy = f"run: uv run compare.py {' '.join(PICTURE_COMMAND)} --svg {PICTURE.relative_to(ROOT)}"
    expected = picture_lines(file.read_text(encoding="utf-8"))
    assert picture_lines(PICTURE.read_text(encoding="utf-8")) == expected, remedy
    assert any("NEON_POOLED_URL" in line for line in expected)


FORBIDDEN_PARTS = re.compile(
    r"@import|@font-face|<\?xml-stylesheet|<!ENTITY|<!DOCTYPE[^>]+(?:SYSTEM|PUBLIC)"
)
QUOTED_ADDRESS = re.compile(r"""["']\s*(https?://[^"')\s]+)""")
STYLE_ADDRESS = re.compile(r"""url\(\s*["']?([^"')]*)""")
SVG = "http://www.w3.org/2000/svg"


def loaded(svg: str) -> set[str]:
    """Return what a picture loads or runs. An address in its text is none of that."""
    found = {*FORBIDDEN_PARTS.findall(svg), *QUOTED_ADDRESS.findall(svg)} - {SVG}
    places = STYLE_ADDRESS.findall(svg)
    for element in ET.fromstring(svg).iter():  # noqa: S314 (our own)
        name = element.tag.rpartition("}")[2]
        found |= {name} & {"script", "foreignObject"}
        for attribute, value in element.attrib.items():
            kind = attribute.rpartition("}")[2]
            found |= {kind} if kind.startswith("on") else set()
            places += [value] if kind in ("href", "src", "data") else []
    return found | {place for place in places if not place.startswith("#")}


@pytest.mark.parametrize(
    "part",
    [
        '<image href="http://example.com/x.png"/>',
        "<image href='//example.com/x.png'/>",
        '<image href="x.png"/>',
        '<a xmlns:x="y" x:href="x.svg"/>',
        '<rect style="fill: url(x.svg#a)"/>',
        "<rect fill=\"url('https://example.com/x')\"/>",
        "<style>@import 'x.css';</style>",
        "<style>@font-face { src: local(x); }</style>",
        "<script>x()</script>",
        '<rect onclick="x()"/>',
        "<foreignObject/>",
    ],
)
def test_picture_that_loads_something_is_found(part: str) -> None:
    assert loaded(f'<svg xmlns="{SVG}">{part}</svg>')


def test_address_in_the_text_of_a_picture_is_allowed() -> None:
    text = '<text fill="url(#a)">http://localhost:8000 (x)</text><use href="#b"/>'
    assert loaded(f'<svg xmlns="{SVG}">{text}</svg>') == set()


@pytest.mark.parametrize(
    "picture", sorted(ROOT.glob("docs/*.svg")), ids=lambda p: p.name
)
def test_picture_loads_nothing(picture: Path) -> None:
    assert loaded(picture.read_text(encoding="utf-8")) == set()


def test_picture_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"]({PICTURE.relative_to(ROOT).as_posix()})" in readme


# The README's commands


def test_commands_of_the_readme(tmp_path: Path) -> None:
    """Each as it stands there, with a local template: clone, presets, compare."""
    template = tagged_template(tmp_path / "published" / "cookiecutter-fastapi-postgres")
    work = tmp_path / "work"
    work.mkdir()
    clone, *presets = readme_commands("## Environments")[:2]
    run(work, "sh", "-ec", localised(clone, template))
    cloned = work / "cookiecutter-fastapi-postgres"
    for command in presets:
        assert "presets/" in command
        run(cloned, "sh", "-ec", localised(command, template))
    assert (work / "my-service" / "docker-compose.yml").is_file()
    new_checkout(work / "my-service")
    commands = readme_commands("### Compare")
    assert len(commands) == len(set(commands))
    for command in commands:
        assert command.startswith("uv run compare.py ")
        completed = run(cloned, "sh", "-ec", command)
        assert "differ" in completed.stdout or "--html" in command
    assert PageReader((cloned / "drivers.html").read_text(encoding="utf-8")).text


# Its own code


def test_rendered_code_is_never_imported() -> None:
    """The comparison reads projects. It must not run them."""
    forbidden = {"exec", "eval", "compile", "import_module", "__import__"}
    for path in [ROOT / "compare.py", *(ROOT / "environments").glob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & forbidden


@pytest.fixture(scope="module", autouse=True)
def _summary(report: list[str]) -> Iterator[None]:
    """Report what the presets decide about round trips."""
    yield
    for name in preset_names():
        found = compared(name, name)["decisions"]
        costs = [each["a"] for each in found if each["name"].startswith("A request")]
        report.append(f"{name:20} read: {costs[0]:21} write: {costs[1]}")
