"""The services of a file, each on an endpoint of its own, and the file's report."""

from collections.abc import Iterator

import pytest

from lab.neon.look_alike import make_certificates
from lab.projects import Bakery
from tests.containers.neon.endpoints import (
    Report,
    Services,
    at_once,
    make_service,
    start,
    stop,
)


@pytest.fixture(scope="module")
def table(report: list[str]) -> Iterator[Report]:
    """Collect what was done with each variant, for the report."""
    table: Report = {}
    yield table
    for variant, lines in table.items():
        report += [str(variant), *(f"    {line}" for line in lines)]
    report.append(
        "Both URLs are as Neon's console prints them. A front before PgBouncer"
        " binds channels, as Neon's own proxy does."
    )


@pytest.fixture(scope="module")
def services(
    docker_engine: None,  # noqa: ARG001 (it comes first)
    bake: Bakery,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Services]:
    """Every service, started with the README's commands on an endpoint of its own."""
    folder = tmp_path_factory.mktemp("neon")
    certificates = folder / "certificates"
    certificates.mkdir()
    make_certificates(certificates)
    services = {
        variant: make_service(bake, variant, folder, certificates)
        for variant in request.module.VARIANTS
    }
    try:
        at_once(services, start)
        yield services
    finally:
        at_once(services, stop)
