"""A copy of a service, and databases for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.copies import working_copy
from lab.migrations import migrate
from lab.prepared import copy_database
from lab.projects import Bakery, Project
from lab.servers import Database, Server
from lab.services import ServiceEnvironment
from lab.variants import VARIANTS


@pytest.fixture
def path(project: Project, tmp_path: Path) -> Path:
    """Return a copy of the project of every variant."""
    return working_copy(project, tmp_path)


@pytest.fixture
def database(postgres: Server) -> Database:
    """Return an empty database."""
    return postgres.create_database()


@pytest.fixture(scope="session")
def migrated(
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    postgres: Server,
) -> Callable[[], Database]:
    """Return a function that creates a database with the tables that all variants have."""
    template = postgres.create_database()
    variant = VARIANTS[0]
    migrate(bake(variant).path, environments(variant.driver), template)
    return lambda: copy_database(postgres, template)
