"""What is required of the Compose files. Each check raises AssertionError."""

import re
from collections.abc import Callable, Iterator
from configparser import RawConfigParser
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from lab.projects import Project
from lab.variants import FACTS, Variant

SLUG = "my-service"
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?P<rule>[^}]*)\}")
PASSWORD = "${POSTGRES_PASSWORD}"  # noqa: S105 (it names a variable)
DIRECT_PORT = 5432
POOLED_PORT = 6432
HEALTHY = {"condition": "service_healthy"}

Model = dict[str, Any]


@dataclass
class Stack:
    """The files of a project that say how it runs."""

    variant: Variant
    main: Model
    test: Model
    example: dict[str, str]
    dockerfile: str
    pgbouncer: str

    @property
    def services(self) -> Model:
        """The services of docker-compose.yml."""
        services: Model = self.main["services"]
        return services

    def environment(self, service: str) -> dict[str, str | None]:
        """Return what a service is given, with variables in their shortest form."""
        given: dict[str, str | None] = self.services[service]["environment"]
        return {
            name: value and VARIABLE.sub(r"${\g<name>}", value)
            for name, value in given.items()
        }


def read_stack(project: Project) -> Stack:
    """Read the files of a project."""
    assert project.variant is not None
    lines = project.read(".env.example").splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    return Stack(
        variant=project.variant,
        main=yaml.safe_load(project.read("docker-compose.yml")),
        test=yaml.safe_load(project.read("docker-compose.test.yml")),
        example=dict(line.split("=", 1) for line in settings),
        dockerfile=project.read("Dockerfile"),
        pgbouncer=(
            project.read("pgbouncer.ini")
            if project.variant.database == "pgbouncer"
            else ""
        ),
    )


def texts(value: object) -> Iterator[str]:
    """Return every text in a model."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from texts(name)
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value


def seconds(duration: str) -> int:
    """Return a duration such as `30s`."""
    match = re.fullmatch(r"(\d+)s", duration)
    assert match, duration
    return int(match[1])


# What is required. Each check raises AssertionError.


def check_names(stack: Stack) -> None:
    assert stack.main["name"] == SLUG
    assert stack.test["name"] == f"{SLUG}-test"


def check_services(stack: Stack) -> None:
    expected = {"api"}
    if stack.variant.migrate_service:
        expected.add("migrate")
    if stack.variant.local_database:
        expected.add("db")
    if stack.variant.database == "pgbouncer":
        expected.add("pgbouncer")
    assert set(stack.services) == expected
    assert set(stack.test["services"]) == {"test", "test-db"}
    # COMPOSE_PROJECT_NAME makes one project of both files.
    assert not set(stack.test["services"]) & set(stack.services)


def check_images(stack: Stack) -> None:
    runtime = {"context": ".", "target": "runtime"}
    for name in {"api", "migrate"} & set(stack.services):
        assert stack.services[name]["build"] == runtime
        # One name for two builds fails where they are exported side by side.
        assert "image" not in stack.services[name]
    test = stack.test["services"]
    assert test["test"]["build"] == {"context": ".", "target": "testing"}
    assert "image" not in test["test"]
    image = f"postgres:{stack.variant.postgres_version}"
    assert test["test-db"]["image"] == image
    if stack.variant.local_database:
        assert stack.services["db"]["image"] == image
    if stack.variant.database == "pgbouncer":
        image = stack.services["pgbouncer"]["image"]
        assert re.fullmatch(r"edoburu/pgbouncer:v1\.\d+\.\d+-p\d+", image)


def check_order(stack: Stack) -> None:
    expected: dict[str, Model] = {name: {} for name in stack.services}
    if stack.variant.database == "postgres":
        expected["api"]["db"] = HEALTHY
    if stack.variant.database == "pgbouncer":
        expected["api"]["pgbouncer"] = HEALTHY
        expected["pgbouncer"]["db"] = HEALTHY
    if stack.variant.migrate_service:
        expected["api"]["migrate"] = {
            "condition": "service_completed_successfully",
            "required": False,
        }
        if stack.variant.local_database:
            expected["migrate"]["db"] = HEALTHY
    found = {
        name: service.get("depends_on", {}) for name, service in stack.services.items()
    }
    assert found == expected
    assert all(
        "depends_on" not in service or service["depends_on"]
        for service in stack.services.values()
    )
    assert stack.test["services"]["test"]["depends_on"] == {"test-db": HEALTHY}


def check_profiles(stack: Stack) -> None:
    profiles = {
        name: service["profiles"]
        for name, service in stack.services.items()
        if "profiles" in service
    }
    if stack.variant.migrate_service:
        assert profiles == {"migrate": ["migrate"]}
        assert stack.example["COMPOSE_PROFILES"] == "migrate"
        assert stack.services["migrate"]["command"] == ["sh", "scripts/migrate.sh"]
    else:
        assert profiles == {}
        assert "COMPOSE_PROFILES" not in stack.example


def local_url(host: str, port: int) -> str:
    return f"postgresql://app:{PASSWORD}@{host}:{port}/app"


def check_urls(stack: Stack) -> None:
    """The API is given the pooled URL, and the direct one only if it has to migrate."""
    urls = {
        "postgres": [local_url("db", DIRECT_PORT)] * 2,
        "pgbouncer": [
            local_url("pgbouncer", POOLED_PORT),
            local_url("db", DIRECT_PORT),
        ],
    }
    names = FACTS[stack.variant.database]["fill_in"]
    hosted = [f"${{{name}}}" for name in names]
    requests, migrations = hosted or urls[stack.variant.database]
    pooled = {"DATABASE_URL": requests}
    name = "DATABASE_URL_DIRECT" if stack.variant.pooled_endpoint else "DATABASE_URL"
    direct = {name: migrations}
    api = {
        name: value
        for name, value in stack.environment("api").items()
        if name.startswith("DATABASE_URL")
    }
    migrates = not stack.variant.migrate_service
    assert api == pooled | (direct if migrates else {})
    if stack.variant.migrate_service:
        assert stack.environment("migrate") == direct


def check_test_url(stack: Stack) -> None:
    test, db = stack.test["services"]["test"], stack.test["services"]["test-db"]
    assert set(test["environment"]) == {"TEST_DATABASE_URL"}
    url = urlsplit(test["environment"]["TEST_DATABASE_URL"])
    assert db["environment"] == {
        "POSTGRES_USER": url.username,
        "POSTGRES_PASSWORD": url.password,
        "POSTGRES_DB": url.path.removeprefix("/"),
    }
    assert (url.hostname, url.port) == ("test-db", DIRECT_PORT)
    assert url.path == "/test"


def check_settings(stack: Stack) -> None:
    """A setting needs no line in the Compose file, and no file with a migration's URL."""
    for name in {"api", "migrate"} & set(stack.services):
        service = stack.services[name]
        assert service["env_file"] == [{"path": "settings.env", "required": False}]
        assert all(each.startswith("DATABASE_URL") for each in service["environment"])


def check_password(stack: Stack) -> None:
    if not stack.variant.local_database:
        assert not any("POSTGRES" in text for text in texts(stack.main))
        return
    assert stack.environment("db") == {
        "POSTGRES_USER": "app",
        "POSTGRES_PASSWORD": PASSWORD,
        "POSTGRES_DB": "app",
    }
    assert stack.example["POSTGRES_PASSWORD"]
    if stack.variant.database == "pgbouncer":
        users = stack.main["configs"]["userlist"]["content"]
        assert users == f'"app" "{PASSWORD}"\n'


def check_ports(stack: Stack) -> None:
    expected = {"api": ["127.0.0.1:${API_PORT:-8000}:8000"]}
    if stack.variant.local_database:
        expected["db"] = ["127.0.0.1:${DB_PORT:-5432}:5432"]
    found = {
        name: service["ports"]
        for name, service in stack.services.items()
        if "ports" in service
    }
    assert found == expected
    assert not any("ports" in service for service in stack.test["services"].values())


def check_volumes(stack: Stack) -> None:
    newest = int(stack.variant.postgres_version) >= 18
    path = "/var/lib/postgresql" if newest else "/var/lib/postgresql/data"
    expected: dict[str, list[str]] = {}
    if stack.variant.local_database:
        expected["db"] = [f"db-data:{path}"]
    if stack.variant.database == "pgbouncer":
        expected["pgbouncer"] = [
            "./pgbouncer.ini:/etc/pgbouncer/pgbouncer.ini:ro",
        ]
    found = {
        name: service["volumes"]
        for name, service in stack.services.items()
        if "volumes" in service
    }
    assert found == expected
    assert stack.main.get("volumes", {}) == (
        {"db-data": None} if stack.variant.local_database else {}
    )
    assert "volumes" not in stack.test
    assert stack.test["services"]["test-db"]["tmpfs"] == [path]
    services = stack.test["services"].values()
    assert not any("volumes" in service for service in services)


def check_health(stack: Stack) -> None:
    """Every probe is there, needs no tool that is missing, and wakes no compute."""
    probes = {
        name: service["healthcheck"]["test"]
        for name, service in stack.services.items()
        if "healthcheck" in service
    }
    assert set(probes) == set(stack.services) - {"migrate"}
    api = probes.pop("api")
    assert api[:3] == ["CMD", "python", "-c"]
    compile(api[3], "healthcheck", "exec")
    assert len(api) == len(["CMD", "python", "-c", "code"])
    path = "live" if FACTS[stack.variant.database]["sleeps"] else "db"
    address = f"http://localhost:{{os.environ['PORT']}}/health/{path}"
    assert f'f"{address}"' in api[3]
    assert re.search(r"timeout=\d", api[3])
    ports = {"db": [], "pgbouncer": ["-p", str(POOLED_PORT)]}
    for name, probe in probes.items():
        assert probe == [
            *("CMD", "pg_isready", "-h", "127.0.0.1"),
            *ports[name],
            *("-U", "app", "-d", "app"),
        ]
    test = stack.test["services"]["test-db"]["healthcheck"]["test"]
    assert test == [
        *("CMD", "pg_isready", "-h", "127.0.0.1"),
        *("-U", "test", "-d", "test"),
    ]


def check_variables(stack: Stack) -> None:
    """`.env.example` has every variable of the Compose file, and no other."""
    needed = {
        match["name"] for text in texts(stack.main) for match in VARIABLE.finditer(text)
    }
    if stack.variant.migrate_service:
        needed.add("COMPOSE_PROFILES")
    assert set(stack.example) == needed
    assert not any(VARIABLE.search(text) for text in texts(stack.test))


def check_missing_variables(stack: Stack) -> None:
    """A variable without a default stops Compose with a message, wherever it is."""
    rules: dict[str, set[str]] = {}
    for text in texts(stack.main):
        for match in VARIABLE.finditer(text):
            rules.setdefault(match["name"], set()).add(match["rule"])
    for name, found in rules.items():
        if name.endswith("_PORT"):
            (rule,) = found
            assert rule == f":-{stack.example[name]}"
        else:
            assert any(rule.startswith(":?") and ".env" in rule for rule in found)


def check_stop(stack: Stack) -> None:
    """The server gives up on its requests before Docker gives up on the server."""
    match = re.search(
        r'^CMD \["sh", "-c", "exec uvicorn .* --timeout-graceful-shutdown (\d+)"\]$',
        stack.dockerfile,
        re.MULTILINE,
    )
    assert match
    assert int(match[1]) < seconds(stack.services["api"]["stop_grace_period"])


def check_restart(stack: Stack) -> None:
    for name, service in stack.services.items():
        policy = "on-failure" if name == "migrate" else "unless-stopped"
        assert service["restart"] == policy
    assert not any("restart" in service for service in stack.test["services"].values())


def check_hardening(stack: Stack) -> None:
    """No process gains rights; what is the project's own has and writes nothing more."""
    for name, service in stack.services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # The server's image starts as root, and takes another user by itself.
        assert service.get("cap_drop") == (None if name == "db" else ["ALL"]), name
        ours = "build" in service
        assert service.get("read_only", False) == ours, name
        assert ("tmpfs" in service) == ours, name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)


def check_pgbouncer(stack: Stack) -> None:
    if stack.variant.database != "pgbouncer":
        assert "pgbouncer" not in str(stack.main)
        return
    parser = RawConfigParser(inline_comment_prefixes=None)
    parser.read_string(stack.pgbouncer)
    assert parser["databases"]["app"] == "host=db port=5432 dbname=app"
    settings = parser["pgbouncer"]
    assert settings["pool_mode"] == "transaction"
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["listen_addr"] == "*"
    assert settings["listen_port"] == str(POOLED_PORT)
    (users,) = stack.services["pgbouncer"]["configs"]
    assert users == {"source": "userlist", "target": settings["auth_file"]}


CHECKS: dict[str, Callable[[Stack], None]] = {
    name.removeprefix("check_"): function
    for name, function in list(globals().items())
    if name.startswith("check_")
}
