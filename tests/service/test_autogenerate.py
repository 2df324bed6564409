"""What autogenerate writes for models of every kind can be run, undone and checked.

Alembic compares by the dialect alone. So one variant of each driver is enough.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.copies import working_copy
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database, Server
from lab.services import ServiceEnvironment
from lab.variants import CHOICES

pytestmark = pytest.mark.everything

MODELS = '''

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


class Invoice(SQLModel, table=True):
    """Something in a schema of its own."""

    __tablename__ = "invoices"
    __table_args__ = {"schema": "billing"}

    id: int | None = Field(default=None, primary_key=True)
    number: str
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


def add_models(migrations: Migrations) -> None:
    """Add the models, with what they import."""
    models = migrations.path / "app" / "models.py"
    text = models.read_text().replace(
        "from sqlalchemy import DateTime, Index, func",
        "from sqlalchemy import DateTime, Index, String, TypeDecorator,"
        " UniqueConstraint, func",
    )
    models.write_text(text + MODELS)


def test_models_of_every_kind(migrations: Migrations) -> None:
    migrations.database.execute("CREATE SCHEMA billing")
    migrations.database.execute("CREATE TABLE of_another_tool (id int)")
    add_models(migrations)

    migrations.alembic("revision", "--autogenerate", "-m", "more")
    migrations.alembic("upgrade", "head")

    assert "No new upgrade operations" in migrations.alembic("check")
    assert "of_another_tool" not in migrations.revision("more").read_text()
    migrations.alembic("downgrade", "-1")
    migrations.alembic("upgrade", "head")


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
        file = migrations.revision(message)
        body = f'"""Upgrade the schema."""\n    op.execute("{statement}")'
        file.write_text(file.read_text().replace('"""Upgrade the schema."""', body, 1))

    migrations.database = postgres.create_database()
    migrations.alembic("upgrade", "head")

    assert migrations.database.execute("SELECT color FROM cars") == [("blue",)]


def test_sql_has_the_lock_timeout(migrations: Migrations) -> None:
    sql = migrations.alembic("upgrade", "head", "--sql")

    assert sql.index("SET lock_timeout = '5s'") < sql.index("CREATE TABLE users")
