"""The engine that a rendered service makes of its environment, as a probe reports it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.projects import Project
from lab.services import ServiceEnvironment

PROBES = Path(__file__).parent / "probes"
SLUG = "my-service"
PASSWORD = "s3cret"  # noqa: S105 (of servers that are not there)
VERIFIED = {"verifies": True, "checks_host": True, "authorities": True}
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
    )
    reports: list[Report] = json.loads(completed.stdout)
    return reports
