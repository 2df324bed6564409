"""Services on endpoints of the Neon look-alike, and requests to them."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import httpx2

from lab.neon.look_alike import Endpoint, NeonService
from lab.projects import Bakery
from lab.variants import Variant, in_turn

Result = TypeVar("Result")

# Both drivers and both pools; each driver and each pool has both ways to migrate.
ALL_VARIANTS = in_turn(
    Variant("neon", pool, driver, migrate_service)
    for pool, driver, migrate_service in (
        ("nullpool", "asyncpg", True),
        ("nullpool", "psycopg", False),
        ("queuepool", "asyncpg", False),
        ("queuepool", "psycopg", True),
    )
)
Services = Mapping[Variant, NeonService]
Report = dict[Variant, list[str]]
emails = count(1)


def at_once(
    services: Services, work: Callable[[NeonService], Result]
) -> dict[Variant, Result]:
    """Do the same with every service at the same time."""
    with ThreadPoolExecutor(len(services)) as pool:
        return dict(zip(services, pool.map(work, services.values()), strict=True))


def say(table: Report, variant: Variant, line: str) -> None:
    """Add a line to the table."""
    table.setdefault(variant, []).append(line)


def make_service(
    bake: Bakery, variant: Variant, folder: Path, certificates: Path
) -> NeonService:
    """Bake a service, with an endpoint of its own."""
    name = f"look-alike-{os.getpid()}-{variant.pool}-{variant.driver}"
    own_folder = folder / name
    own_folder.mkdir()
    endpoint = Endpoint(f"{name}-neon", certificates, variant.postgres_version)
    return NeonService(name, bake.fresh(variant), endpoint, own_folder)


def start(service: NeonService) -> None:
    """Start the endpoint, then the service."""
    service.endpoint.start()
    service.start()


def stop(service: NeonService) -> None:
    """Delete the service, then the endpoint."""
    service.stop()
    service.endpoint.stop()


@dataclass(frozen=True)
class Answer:
    """The response to one request."""

    status: int
    seconds: float
    ended: float
    retry_after: str | None
    email: str | None = None


def ask(client: httpx2.Client, *, write: bool = False) -> Answer:
    """Create a user, or list users."""
    email = f"user{next(emails)}@example.com" if write else None
    began = time.monotonic()
    if write:
        response = client.post("/users", json={"name": "Ada", "email": email})
    else:
        response = client.get("/users")
    ended = time.monotonic()
    retry_after = response.headers.get("Retry-After")
    return Answer(response.status_code, ended - began, ended, retry_after, email)


def ask_together(service: NeonService, requests: int = 10) -> list[Answer]:
    """Send reads and writes at the same time."""
    with service.client() as client, ThreadPoolExecutor(requests) as pool:
        writes = [number % 2 == 0 for number in range(requests)]
        return list(pool.map(lambda write: ask(client, write=write), writes))
