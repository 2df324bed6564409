"""Alembic, as a person and as the containers run it, on real PostgreSQL.

`env.py` depends on the database, which names the variable, and on the driver, which
connects: both in every combination where all works together, else each value once. The
pool and the migrate service are none of Alembic's business.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.copies import add_models, replace_once, run_with, working_copy
from lab.migrations import direct_name
from lab.pages import shell_blocks
from lab.pairs import each_answer, one_of_each
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database, Server
from lab.services import ServiceEnvironment, clean_environment
from lab.variants import VARIANTS, Variant

pytestmark = pytest.mark.everything

ITEM = '''"""Items, which users own."""

from datetime import datetime
from decimal import Decimal

from sqlmodel import Field, SQLModel

from app.models.base import Timestamp, utc_now


class Item(SQLModel, table=True):
    """Something that a user owns."""

    __tablename__ = "items"

    id: int | None = Field(default=None, primary_key=True)
    title: str = Field(max_length=200, index=True)
    code: str = Field(unique=True)
    price: Decimal | None = Field(default=None, max_digits=10, decimal_places=2)
    owner_id: int = Field(foreign_key="users.id", ondelete="CASCADE")
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)
'''
ITEM_CONSTRAINTS = {"pk_items", "uq_items_code", "fk_items_owner_id_users"}

# One command after the other in one process, as `alembic` runs each of them.
IN_TURN = """
import sys
from alembic.config import main
for command in sys.argv[1:]:
    main(argv=command.split())
"""

each_pair = pytest.mark.parametrize(
    "variant", one_of_each("database", "driver"), ids=str
)
each_database_and_driver = pytest.mark.parametrize(
    "variant", each_answer("database", "driver"), ids=str
)
each_driver = pytest.mark.parametrize(
    "variant",
    [
        chosen("postgres", "queuepool", "asyncpg"),
        chosen("neon", "nullpool", "psycopg"),
    ],
    ids=str,
)


# Up and down


@each_pair
def test_up_down_up_without_drift(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    (path / "in_turn.py").write_text(IN_TURN)

    def alembic(*commands: str) -> str:
        settings = {direct_name(variant): database.url}
        completed = run_with(settings, environment, path, "in_turn", *commands)
        return completed.stdout + completed.stderr

    output = alembic("upgrade head", "check", "downgrade base")
    assert output.count("Running upgrade  -> 0001") == 1
    assert output.count("No new upgrade operations detected.") == 1
    assert output.count("Running downgrade 0001 -> ") == 1
    assert database.tables() == {"alembic_version"}
    assert database.execute("SELECT count(*) FROM alembic_version") == [(0,)]
    output = alembic("upgrade head", "check")
    assert output.count("Running upgrade  -> 0001") == 1
    assert output.count("No new upgrade operations detected.") == 1
    assert database.tables() == {"alembic_version", "teams", "users"}


@each_driver
def test_drift_is_found(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    settings = {direct_name(variant): database.url}
    run_with(settings, environment, path, "alembic", "upgrade", "head")
    database.execute(
        "ALTER TABLE users ALTER COLUMN email TYPE varchar(101),"
        " ALTER COLUMN name DROP NOT NULL, ALTER COLUMN created_at TYPE timestamp"
    )
    completed = run_with(settings, environment, path, "alembic", "check", check=False)
    assert completed.returncode != 0
    output = completed.stdout + completed.stderr
    found = re.findall(
        r"Detected (NOT NULL|type change) .*on (?:column )?'users\.(\w+)'", output
    )
    assert sorted(found) == [
        ("NOT NULL", "name"),
        ("type change", "created_at"),
        ("type change", "email"),
    ], output


# Offline


@each_database_and_driver
def test_offline(
    environment: ServiceEnvironment, variant: Variant, path: Path, postgres: Server
) -> None:
    """The SQL builds the same schema, and is written without any setting."""
    up = environment.run(path, "alembic", "upgrade", "head", "--sql")
    assert up.stderr.count("Running upgrade  -> 0001") == 1
    database = postgres.create_database()
    database.execute(up.stdout)
    settings = {direct_name(variant): database.url}
    run_with(settings, environment, path, "alembic", "check")
    down = environment.run(path, "alembic", "downgrade", "0001:base", "--sql")
    database.execute(down.stdout)
    assert database.tables() <= {"alembic_version"}


# A new model, as the README says


def assert_clean(environment: ServiceEnvironment, path: Path) -> None:
    """Run the project's own checks."""
    environment.run(path, "ruff", "format", "--check")
    environment.run(path, "ruff", "check", "--no-fix")
    environment.check_types(path)


def readme_commands(path: Path) -> list[list[str]]:
    """Return the commands that the README gives for a new model."""
    [block] = shell_blocks(path / "README.md", "## Migrations")
    prefix = "uv run alembic "
    return [
        re.findall(r'"[^"]*"|\S+', line.removeprefix("uv run "))
        for line in block.splitlines()
        if line.startswith(prefix)
    ]


@each_driver
def test_new_model(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    """It is migrated and clean; and so is an empty revision, for SQL written by hand."""
    settings = {direct_name(variant): database.url}

    def alembic(*command: str) -> None:
        run_with(settings, environment, path, "alembic", *command)

    alembic("upgrade", "head")
    add_models(path, "Item", ITEM)
    commands = readme_commands(path)
    assert [command[1] for command in commands] == ["revision", "upgrade"]
    for command in commands:
        run_with(settings, environment, path, *(part.strip('"') for part in command))

    (revision,) = set((path / "alembic/versions").glob("*.py")) - {
        path / "alembic/versions/0001_create_teams_and_users.py"
    }
    assert re.fullmatch(r"\d{8}_[0-9a-f]+_add_items\.py", revision.name)
    assert "items" in database.tables()
    query = "SELECT conname FROM pg_constraint WHERE conrelid = 'items'::regclass"
    found = {name for (name,) in database.execute(f"{query} AND contype <> 'n'")}
    assert found == ITEM_CONSTRAINTS
    alembic("check")
    alembic("downgrade", "0001")
    assert "items" not in database.tables()
    alembic("revision", "-m", 'say "it\'s" empty')
    alembic("upgrade", "head")

    assert_clean(environment, path)
    environment.run(path, "pytest", "-q", "tests/test_migrations.py")


def test_unclean_revision_is_found(
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    tmp_path: Path,
    database: Database,
) -> None:
    """Without Alembic's hooks, a new revision is not formatted."""
    variant = VARIANTS[0]
    environment = environments(variant.driver)
    path = working_copy(bake(variant), tmp_path)
    replace_once(path / "alembic.ini", "hooks = lint, format", "hooks =")
    settings = {direct_name(variant): database.url}
    run_with(settings, environment, path, "alembic", "upgrade", "head")
    add_models(path, "Item", ITEM)
    message = ("--autogenerate", "-m", "add items")
    run_with(settings, environment, path, "alembic", "revision", *message)
    for command in (("ruff", "format", "--check"), ("ruff", "check", "--no-fix")):
        assert environment.run(path, *command, check=False).returncode == 1, command


# The script that the containers run


def run_script(
    environment: ServiceEnvironment, path: Path, cwd: Path, settings: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [path / "scripts" / "migrate.sh"],
        cwd=cwd,
        env=clean_environment(environment, settings),
        capture_output=True,
        text=True,
        check=False,
    )


@each_driver
def test_script(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    settings = {direct_name(variant): database.url}
    for _ in range(2):
        completed = run_script(environment, path, path, settings)
        assert completed.returncode == 0, completed.stderr
        assert completed.stdout.splitlines()[-1] == "Migrations complete."
    assert "users" in database.tables()
    failed = run_script(environment, path, path, {})
    assert failed.returncode != 0
    assert "complete" not in failed.stdout
    assert f"{direct_name(variant)} is not set" in failed.stderr
