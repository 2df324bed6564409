"""The clusters of a file."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lab.projects import Bakery
from lab.variants import Variant
from tests.kubernetes.releases import Site, site

MakeSite = Callable[..., Site]


@pytest.fixture(scope="module")
def make_site(bake: Bakery) -> Iterator[MakeSite]:
    """Return a function that makes a cluster for a variant, with its database."""
    with ExitStack() as cleanup:

        def make(variant: Variant, name: str) -> Site:
            slug = f"{name}-{os.getpid()}"
            project = bake(replace(variant, kubernetes=True), project_slug=slug)
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)
            return cleanup.enter_context(site(project, folder))

        yield make
