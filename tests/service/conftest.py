"""A copy of a service, and an empty database for it."""

from pathlib import Path

import pytest

from lab.copies import working_copy
from lab.projects import Project
from lab.servers import Database, Server


@pytest.fixture
def path(project: Project, tmp_path: Path) -> Path:
    """Return a copy of the project of every variant."""
    return working_copy(project, tmp_path)


@pytest.fixture
def database(postgres: Server) -> Database:
    """Return an empty database."""
    return postgres.create_database()
