"""What autogenerate writes for models of every kind can be run, undone and checked.

Alembic compares by the dialect alone. So one variant of each driver is enough.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.copies import add_models, replace_once, working_copy
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database, Server
from lab.services import ServiceEnvironment
from lab.variants import CHOICES

pytestmark = pytest.mark.everything

MODELS = '''"""Models of every kind."""

from enum import Enum

from sqlalchemy import String, TypeDecorator, UniqueConstraint
from sqlmodel import Field, SQLModel

class Color(Enum):
    """An enum of one's own."""

    RED = "red"
    BLUE = "blue"


class Shouted(TypeDecorator[str]):
    """A type of one's own."""

    impl = String
    cache_ok = True


class Item(SQLModel, table=True):
    """Something with constraints that begin with the same column."""

    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("owner_id", "title"),
        UniqueConstraint("owner_id", "code"),
    )

    id: int | None = Field(default=None, primary_key=True)
    owner_id: int = Field(foreign_key="users.id")
    title: str = Field(max_length=200)
    code: str = Field(sa_type=Shouted)
    state: str = Field(sa_column_kwargs={"server_default": "new"})
    color: Color


class Invoice(SQLModel, table=True):
    """Something in a schema of its own."""

    __tablename__ = "invoices"
    __table_args__ = {"schema": "billing"}

    id: int | None = Field(default=None, primary_key=True)
    number: str


class LongName(SQLModel, table=True):
    """Something whose constraints have names that are longer than 63 bytes."""

    __tablename__ = "things_that_have_a_long_name"
    __table_args__ = (
        UniqueConstraint("a_column_with_a_long_name_too", "and_a_second_such_column"),
        UniqueConstraint("a_column_with_a_long_name_too", "and_a_third_such_column"),
    )

    id: int | None = Field(default=None, primary_key=True)
    a_column_with_a_long_name_too: str = Field(index=True)
    and_a_second_such_column: int = Field(index=True)
    and_a_third_such_column: int = Field(foreign_key="items.id", index=True)
'''


class Migrations:
    """Alembic in a copy of a service, on a database of its own."""

    def __init__(
        self, path: Path, environment: ServiceEnvironment, database: Database
    ) -> None:
        """Name the service, its environment and the database."""
        self.path = path
        self.environment = environment
        self.database = database

    def alembic(self, *command: str, check: bool = True) -> str:
        """Run a command, and return what it prints."""
        completed = self.environment.run(
            self.path, "alembic", *command, check=check, DATABASE_URL=self.database.url
        )
        return completed.stdout + completed.stderr

    def revision(self, message: str) -> Path:
        """Return the file of the migration with that message."""
        [found] = (self.path / "alembic" / "versions").glob(f"*_{message}.py")
        return found


@pytest.fixture(params=CHOICES["driver"])
def migrations(
    request: pytest.FixtureRequest,
    bake: Bakery,
    environments: Callable[[str], ServiceEnvironment],
    postgres: Server,
    tmp_path: Path,
) -> Migrations:
    """Return a migrated service of each driver."""
    driver: str = request.param
    path = working_copy(bake(chosen("postgres", "queuepool", driver)), tmp_path)
    found = Migrations(path, environments(driver), postgres.create_database())
    found.alembic("upgrade", "head")
    return found


def fill(revision: Path, upgrade: str, downgrade: str = "pass") -> None:
    """Write what an empty migration does."""
    for name, statement in (("Upgrade", upgrade), ("Downgrade", downgrade)):
        docstring = f'"""{name} the schema."""'
        replace_once(revision, docstring, f"{docstring}\n    {statement}")


def test_models_of_every_kind(migrations: Migrations, postgres: Server) -> None:
    migrations.database.execute("CREATE TABLE of_another_tool (id int)")
    migrations.database.execute("CREATE TYPE type_of_another_tool AS ENUM ('x')")
    add_models(migrations.path, "Item", MODELS)

    migrations.alembic("revision", "-m", "billing")
    fill(
        migrations.revision("billing"),
        'op.execute("CREATE SCHEMA billing")',
        'op.execute("DROP SCHEMA billing")',
    )
    migrations.alembic("upgrade", "head")
    migrations.alembic("revision", "--autogenerate", "-m", "more")
    migrations.alembic("upgrade", "head")

    assert "No new upgrade operations" in migrations.alembic("check")
    assert "of_another_tool" not in migrations.revision("more").read_text()
    migrations.alembic("downgrade", "-1")
    migrations.alembic("upgrade", "head")
    # The project's own tests build and empty the same schemas.
    completed = migrations.environment.run(
        migrations.path,
        *("pytest", "-q", "tests/test_migrations.py"),
        TEST_DATABASE_URL=postgres.create_database().url,
    )
    assert "3 passed" in completed.stdout


def test_enum_value_is_added_and_taken_back(migrations: Migrations) -> None:
    migrations.database.execute("CREATE SCHEMA billing")
    models = add_models(migrations.path, "Item", MODELS)
    migrations.alembic("revision", "--autogenerate", "-m", "more")
    migrations.alembic("upgrade", "head")

    replace_once(
        models, '    BLUE = "blue"\n', '    BLUE = "blue"\n    GREEN = "green"\n'
    )
    assert "add_enum_value" in migrations.alembic("check", check=False)
    migrations.alembic("revision", "--autogenerate", "-m", "green")
    for command in ("upgrade head", "downgrade -2", "upgrade head"):
        migrations.alembic(*command.split())

    assert "No new upgrade operations" in migrations.alembic("check")


def test_server_default_is_compared(migrations: Migrations) -> None:
    migrations.database.execute("ALTER TABLE users ALTER COLUMN name SET DEFAULT 'x'")

    assert "New upgrade operations" in migrations.alembic("check", check=False)


def test_empty_revision_can_be_filled(migrations: Migrations) -> None:
    migrations.alembic("revision", "-m", "empty")

    text = migrations.revision("empty").read_text()
    assert "import sqlalchemy as sa\n" in text
    assert "from alembic import op\n" in text


def test_enum_value_of_one_revision_is_there_for_the_next(
    migrations: Migrations, postgres: Server
) -> None:
    for message, statement in (
        ("type", "CREATE TYPE color AS ENUM ('red')"),
        ("value", "ALTER TYPE color ADD VALUE 'blue'"),
        ("use", "CREATE TABLE cars AS SELECT 'blue'::color AS color"),
    ):
        migrations.alembic("revision", "-m", message)
        fill(migrations.revision(message), f'op.execute("{statement}")')

    migrations.database = postgres.create_database()
    migrations.alembic("upgrade", "head")

    assert migrations.database.execute("SELECT color FROM cars") == [("blue",)]


def test_sql_has_the_lock_timeout(migrations: Migrations) -> None:
    sql = migrations.alembic("upgrade", "head", "--sql")

    assert sql.index("SET lock_timeout = '5s'") < sql.index("CREATE TABLE users")
