"""What the Compose files of a rendered service say."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from environments.syntax import UnreadableError

COMPOSE = "docker-compose.yml"
COMPOSE_TEST = "docker-compose.test.yml"
EXAMPLE = ".env.example"
VARIABLE = re.compile(
    r"\$\{(?P<name>\w+)(?::?(?P<mark>[?-])(?P<rest>[^}]*))?\}|\$(?P<bare>[A-Za-z_]\w*)"
)
PROBE_URL = re.compile(r"https?://[^/]+(/[^\"']*)")
WAITS = {
    "service_healthy": "healthy",
    "service_started": "started",
    "service_completed_successfully": "completed",
}

Service = dict[str, Any]


def services_of(folder: Path, name: str) -> dict[str, Service]:
    """Return the services of a Compose file; raises UnreadableError."""
    try:
        document = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        services: dict[str, Service] = document["services"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        message = f"{name} cannot be read"
        raise UnreadableError(message) from error
    return services


def compose_facts(folder: Path) -> list[tuple[str, str]]:
    """Return a fact for every service that Compose runs, tests included."""
    return [
        (name if file == COMPOSE else f"{name}, in {file}", describe(service))
        for file in (COMPOSE, COMPOSE_TEST)
        for name, service in services_of(folder, file).items()
    ]


def describe(service: Service) -> str:
    """Say what a service is, what it waits for and how its health is checked."""
    build = service.get("build")
    target = build.get("target", "") if isinstance(build, dict) else ""
    lines = [f"build: {target}" if build else f"image: {service.get('image')}"]
    if profiles := service.get("profiles"):
        lines.append("profile: " + ", ".join(profiles))
    lines += [f"waits for: {wait}" for wait in waits(service)]
    lines.append("health: " + health(service))
    return "\n".join(lines)


def waits(service: Service) -> list[str]:
    """Return what a service waits for before it starts."""
    dependencies = service.get("depends_on") or {}
    if isinstance(dependencies, list):
        dependencies = {name: {} for name in dependencies}
    return [
        f"{name} {WAITS.get(details.get('condition'), 'started')}"
        + ("" if details.get("required", True) else ", if its profile is on")
        for name, details in dependencies.items()
    ]


def health(service: Service) -> str:
    """Say how the health of a service is checked."""
    check = service.get("healthcheck")
    if not check:
        return "not checked"
    test = check.get("test", [])
    words = [test] if isinstance(test, str) else test[1:]
    text = " ".join(str(word) for word in words)
    probe = PROBE_URL.search(text)
    command = f"GET {probe[1]}" if probe else text
    return f"{command}, every {check.get('interval', '30s')}"


def variable_of(service: Service, name: str) -> str | None:
    """Return what a service sets an environment variable to, or None."""
    variables = service.get("environment") or {}
    if isinstance(variables, list):
        variables = dict(str(line).partition("=")[::2] for line in variables)
    value = variables.get(name)
    return None if value is None else str(value)


def address(value: str) -> str:
    """Write the value of a URL variable without its password.

    A value that comes from .env is named by the variable there.
    """
    whole = VARIABLE.fullmatch(value)
    if whole:
        return f"{whole['name'] or whole['bare']} in .env"
    parts = urlsplit(VARIABLE.sub("x", value))
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def env_file_facts(folder: Path) -> dict[str, str]:
    """Return the variables that Compose reads from .env, required or optional."""
    text = (folder / COMPOSE).read_text(encoding="utf-8")
    example = read_example(folder)
    required = {
        match["name"] for match in VARIABLE.finditer(text) if match["mark"] == "?"
    }
    facts = {}
    for match in VARIABLE.finditer(text):
        name = match["name"] or match["bare"]
        default = match["rest"] if match["mark"] == "-" else None
        facts[name] = need(name in required, default, example.get(name))
    for name, value in example.items():
        facts.setdefault(name, need(required=False, default=None, example=value))
    return facts


def need(required: bool, default: str | None, example: str | None) -> str:
    """Say whether Compose needs a variable, and what it is without it."""
    text = "required" if required else "optional"
    if default:
        text += f", {default}"
    if example is None:
        return text
    shown = f"{EXAMPLE} has {example}" if example else f"{EXAMPLE} leaves it empty"
    return f"{text}; {shown}"


def read_example(folder: Path) -> dict[str, str]:
    """Return the variables of the example for .env, and their values."""
    path = folder / EXAMPLE
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if re.match(r"[A-Z_]+=", line)]
    return {name: value for name, _, value in pairs}
