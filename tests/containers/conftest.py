"""The stacks of a test, and the servers and images of a file."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from lab.containers import docker
from lab.projects import Bakery
from lab.services import ServiceEnvironment
from lab.stacks import Stack
from lab.symptoms import Laboratory, laboratory
from lab.variants import Variant
from tests.containers.compose_stacks import NAME, MakeStack, configured_stack
from tests.containers.wrong_ways import SYMPTOMS


@pytest.fixture(scope="module")
def lab(
    report: list[str],
    docker_engine: None,  # noqa: ARG001
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Laboratory]:
    """Run the servers, and report what was done."""
    folder = tmp_path_factory.mktemp("troubleshooting")
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    with laboratory(folder, bake, environments) as running:
        yield running
    report.append(
        f"{len({symptom.text for symptom in SYMPTOMS})} texts, {running.counts['services']} services,"
        f" {running.counts['commands']} commands"
    )


@pytest.fixture(scope="module")
def remove_images() -> Iterator[None]:
    """Remove the images of this suite after its last test."""
    yield
    ours = [f"--filter=reference={name}" for name in (NAME, f"{NAME}-*")]
    if images := docker(
        "image", "ls", "--format={{.Repository}}", *ours
    ).stdout.split():
        docker("image", "rm", "--force", *images, check=False)


@pytest.fixture
def make_stack(bake: Bakery) -> Iterator[MakeStack]:
    """Return a function that renders a variant and configures its stack."""
    with ExitStack() as cleanup:

        def make(variant: Variant, name: str = NAME, **settings: str | None) -> Stack:
            return cleanup.enter_context(
                configured_stack(bake, variant, name, settings)
            )

        yield make
