"""Migrations build the schema that the models describe."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests import needs_postgres


@needs_postgres
@pytest.mark.usefixtures("schema", "schema_restored")
def test_down_and_up_again_without_drift(run_alembic: Callable[..., None]) -> None:
    run_alembic(command.downgrade, "base")
    run_alembic(command.upgrade, "head")
    run_alembic(command.check)


def test_migrations_as_sql() -> None:
    output = StringIO()
    config = Config(Path(__file__).parents[1] / "alembic.ini", output_buffer=output)

    command.upgrade(config, "head", sql=True)

    assert "CREATE TABLE users" in output.getvalue()


def test_there_is_one_head() -> None:
    config = Config(Path(__file__).parents[1] / "alembic.ini")

    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
