"""The services of a Compose file. Compose takes most parts in more than one shape."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from environments.syntax import UnreadableError, read_text
from environments.yaml_text import NotYamlError, read_yaml

COMPOSE = "docker-compose.yml"
COMPOSE_TEST = "docker-compose.test.yml"
DEFAULT_INTERVAL = "30s"


@dataclass(frozen=True)
class Service:
    """A service. An empty `test` means that its health is not checked."""

    source: str
    profiles: list[str]
    dependencies: dict[str, dict[str, Any]]
    test: str
    interval: str
    environment: dict[str, str | None]


def services_of(folder: Path, name: str) -> dict[str, Service]:
    """Return the services of a Compose file; raises UnreadableError."""
    try:
        document = read_yaml(read_text(folder, name), yaml.SafeLoader)
    except NotYamlError as error:
        message = f"{name} cannot be read: {error}"
        raise UnreadableError(message) from error
    services = mapping(name, document).get("services")
    return {
        str(service): read_service(f"{name}: {service}", parts)
        for service, parts in mapping(f"{name}: services", services).items()
    }


def read_service(place: str, given: object) -> Service:
    """Read one service; raises UnreadableError that names the place."""
    parts = mapping(place, given)
    check = mapping(f"{place}: healthcheck", parts.get("healthcheck") or {})
    dependencies = by_name(f"{place}: depends_on", parts.get("depends_on"))
    environment = by_name(f"{place}: environment", parts.get("environment"))
    return Service(
        source=source_of(parts),
        profiles=[*by_name(f"{place}: profiles", parts.get("profiles"))],
        dependencies={
            name: mapping(f"{place}: depends_on: {name}", details or {})
            for name, details in dependencies.items()
        },
        test=test_of(check),
        interval=str(check.get("interval", DEFAULT_INTERVAL)),
        environment={
            name: None if value is None else str(value)
            for name, value in environment.items()
        },
    )


def mapping(place: str, value: object) -> dict[Any, Any]:
    """Return a mapping; raises UnreadableError for anything else."""
    if isinstance(value, dict):
        return value
    message = f"{place} is no mapping"
    raise UnreadableError(message)


def by_name(place: str, value: object) -> dict[str, Any]:
    """Return a mapping that may be written as a list: of names, or of `name=value`."""
    if isinstance(value, list):
        pairs: Iterable[tuple[str, Any]] = (split(str(line)) for line in value)
        return dict(pairs)
    return {str(name): each for name, each in mapping(place, value or {}).items()}


def split(line: str) -> tuple[str, str | None]:
    """Split `name=value`. A name alone has no value."""
    name, equals, value = line.partition("=")
    return name, value if equals else None


def source_of(parts: dict[str, Any]) -> str:
    """Say what a service is made of."""
    build = parts.get("build")
    if not build:
        return f"image: {parts.get('image')}"
    return f"build: {build.get('target', '') if isinstance(build, dict) else build}"


def test_of(check: dict[str, Any]) -> str:
    """Return the command that checks a service, or nothing if none does."""
    test = check.get("test", "the image's own")
    words = test if isinstance(test, list) else ["CMD-SHELL", test]
    if not check or check.get("disable") or words[:1] == ["NONE"]:
        return ""
    return " ".join(str(word) for word in words[1:])
