"""What the Compose files of a rendered service say."""

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote

from environments.services import COMPOSE, COMPOSE_TEST, Service, services_of
from environments.syntax import UnreadableError, read_text

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


def compose_facts(folder: Path) -> list[tuple[str, str]]:
    """Return a fact for every service that Compose runs, tests included."""
    return [
        (name if file == COMPOSE else f"{name}, in {file}", describe(service))
        for file in (COMPOSE, COMPOSE_TEST)
        for name, service in services_of(folder, file).items()
    ]


def describe(service: Service) -> str:
    """Say what a service is, what it waits for and how its health is checked."""
    lines = [service.source]
    if service.profiles:
        lines.append("profile: " + ", ".join(service.profiles))
    lines += [f"waits for: {wait}" for wait in waits(service)]
    lines.append("health: " + health(service))
    return "\n".join(lines)


def waits(service: Service) -> list[str]:
    """Return what a service waits for before it starts."""
    return [
        f"{name} {WAITS.get(str(details.get('condition')), 'started')}"
        + ("" if details.get("required", True) else ", if its profile is on")
        for name, details in service.dependencies.items()
    ]


def health(service: Service) -> str:
    """Say how the health of a service is checked."""
    if not service.test:
        return "not checked"
    probe = PROBE_URL.search(service.test)
    command = f"GET {probe[1]}" if probe else service.test
    return f"{command}, every {service.interval}"


def address(value: str) -> str:
    """Write the value of a URL variable without its passwords.

    A value that comes from .env is named by the variable there. Raises UnreadableError.
    """
    whole = VARIABLE.fullmatch(value)
    if whole:
        return f"{name_of(whole)} in .env"
    place, _, query = location(value).partition("?")
    shown = [each for each in query.split("&") if each and not is_password(each)]
    return f"{place}?{'&'.join(shown)}" if shown else place


def location(value: str) -> str:
    """Return what follows the user in a URL; raises UnreadableError.

    A password may hold any character but an @, even unquoted.
    """
    text = VARIABLE.sub(lambda match: f"${name_of(match)}", value)
    _, scheme, rest = text.partition("://")
    before, user, after = (rest if scheme else text).partition("@")
    if "@" in after:
        message = "a URL for Compose has more than one @"
        raise UnreadableError(message)
    return after if user else before


def name_of(variable: re.Match[str]) -> str:
    """Return the name of a variable that Compose replaces."""
    return variable["name"] or variable["bare"]


def is_password(parameter: str) -> bool:
    """Tell whether a parameter of a URL, as `name=value`, is a secret."""
    return "password" in unquote(parameter.partition("=")[0]).lower()


def parameters_of(value: str) -> dict[str, list[str]]:
    """Return the parameters of a URL; raises UnreadableError."""
    return parse_qs(location(value).partition("?")[2])


def env_file_facts(folder: Path) -> dict[str, str]:
    """Return the variables that Compose reads from .env, required or optional."""
    text = read_text(folder, COMPOSE)
    example = read_example(folder)
    required = {
        match["name"] for match in VARIABLE.finditer(text) if match["mark"] == "?"
    }
    facts = {}
    for match in VARIABLE.finditer(text):
        name = name_of(match)
        default = match["rest"] if match["mark"] == "-" else None
        facts[name] = need(name in required, default, example.get(name))
    for name, value in example.items():
        facts.setdefault(name, need(required=False, default=None, example=value))
    return facts


def need(required: bool, default: str | None, example: str | None) -> str:
    """Say whether Compose needs a variable, and what it is without it."""
    text = "required" if required else "optional"
    if default:
        text += f", {without_password(default)}"
    if example is None:
        return text
    if not example:
        return f"{text}; {EXAMPLE} leaves it empty"
    return f"{text}; {EXAMPLE} has {without_password(example)}"


def without_password(text: str) -> str:
    """Write a value that may be a URL."""
    return address(text) if "://" in text else text


def read_example(folder: Path) -> dict[str, str]:
    """Return the variables of the example for .env, and their values."""
    if not (folder / EXAMPLE).is_file():
        return {}
    lines = read_text(folder, EXAMPLE).splitlines()
    pairs = [line.partition("=") for line in lines if re.match(r"[A-Z_]+=", line)]
    return {name: value for name, _, value in pairs}
