"""Alembic, as a person and as the containers run it, on real PostgreSQL."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from lab.copies import replace_once, run_with, working_copy
from lab.pairs import one_of_each
from lab.projects import Bakery, Project
from lab.servers import Database, Server
from lab.services import ServiceEnvironment, clean_environment
from lab.variants import VARIANTS, Variant

pytestmark = pytest.mark.everything

ODD_PASSWORD = "%40 %s % @ : / # ? & = + ' \" \\ $x"  # noqa: S105
WAIT_SECONDS = 60

ITEM = '''

class Item(SQLModel, table=True):
    """Something that a user owns."""

    __tablename__ = "items"

    id: int | None = Field(default=None, primary_key=True)
    title: str = Field(max_length=200, index=True)
    code: str = Field(unique=True)
    price: Decimal | None = Field(default=None, max_digits=10, decimal_places=2)
    owner_id: int = Field(foreign_key="users.id", ondelete="CASCADE")
    created_at: datetime = Field(
        default_factory=utc_now, sa_type=DateTime(timezone=True)
    )
'''
ITEM_CONSTRAINTS = {"pk_items", "uq_items_code", "fk_items_owner_id_users"}

# One command after the other in one process, as `alembic` runs each of them.
CYCLE = """
from alembic.config import main
for command in ("upgrade head", "check", "downgrade base", "upgrade head", "check"):
    main(argv=command.split())
"""


def direct_name(variant: Variant) -> str:
    """Return the variable that migrations read."""
    return "DATABASE_URL_DIRECT" if variant.pooled_endpoint else "DATABASE_URL"


each_pair = pytest.mark.parametrize(
    "variant", one_of_each("database", "driver"), ids=str
)
each_driver = pytest.mark.parametrize("variant", one_of_each("driver"), ids=str)
pooled = pytest.mark.parametrize(
    "variant",
    [v for v in one_of_each("database") if v.pooled_endpoint],
    ids=str,
)


@pytest.fixture
def path(project: Project, tmp_path: Path) -> Path:
    """Return a copy of the project of every variant."""
    return working_copy(project, tmp_path)


@pytest.fixture
def database(postgres: Server) -> Database:
    """Return an empty database."""
    return postgres.create_database()


def tables(database: Database) -> set[str]:
    """Return the names of the tables."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    return {name for (name,) in database.execute(query)}


# Every variant


def test_up_down_up_without_drift(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    (path / "cycle.py").write_text(CYCLE)
    completed = run_with(
        {direct_name(variant): database.url}, environment, path, "cycle"
    )
    output = completed.stdout + completed.stderr
    assert output.count("Running upgrade  -> 0001") == 2
    assert output.count("Running downgrade 0001 -> ") == 1
    assert output.count("No new upgrade operations detected.") == 2
    assert tables(database) == {"alembic_version", "teams", "users"}


@each_driver
def test_downgrade_leaves_nothing(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    settings = {direct_name(variant): database.url}
    run_with(settings, environment, path, "alembic", "upgrade", "head")
    assert tables(database) == {"alembic_version", "teams", "users"}
    run_with(settings, environment, path, "alembic", "downgrade", "base")
    assert tables(database) == {"alembic_version"}
    assert database.execute("SELECT count(*) FROM alembic_version") == [(0,)]


@each_driver
def test_drift_is_found(
    environment: ServiceEnvironment, variant: Variant, path: Path, database: Database
) -> None:
    settings = {direct_name(variant): database.url}
    run_with(settings, environment, path, "alembic", "upgrade", "head")
    for statement in (
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(101)",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(100),"
        " ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE users ALTER COLUMN name SET NOT NULL,"
        " ALTER COLUMN created_at TYPE timestamp",
    ):
        database.execute(statement)
        completed = run_with(
            settings, environment, path, "alembic", "check", check=False
        )
        assert completed.returncode != 0, statement
        assert "New upgrade operations detected" in completed.stdout + completed.stderr


# The URL


@contextmanager
def role(server: Server, password: str) -> Iterator[str]:
    """Create a role that may create tables in a database of its own; yield its URL."""
    name = f"odd_{os.getpid()}"
    database = server.create_database()
    names = {"role": sql.Identifier(name), "database": sql.Identifier(database.name)}

    def run(statement: str, **parts: sql.Composable) -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(**names, **parts))

    run("CREATE ROLE {role} LOGIN PASSWORD {password}", password=sql.Literal(password))
    run("GRANT {role} TO CURRENT_USER")
    try:
        run("ALTER DATABASE {database} OWNER TO {role}")
        address = urlsplit(server.url)
        login = f"{name}:{quote(password, safe='')}"
        yield f"postgres://{login}@{address.hostname}:{address.port}/{database.name}"
    finally:
        run("DROP DATABASE {database} WITH (FORCE)")
        run("DROP ROLE {role}")


@each_pair
def test_odd_password(
    environment: ServiceEnvironment, variant: Variant, path: Path, postgres: Server
) -> None:
    with role(postgres, ODD_PASSWORD) as url:
        settings = {direct_name(variant): url}
        completed = run_with(settings, environment, path, "alembic", "upgrade", "head")
        assert "Running upgrade  -> 0001" in completed.stderr
        wrong = {direct_name(variant): url.replace("%", "%25")}
        refused = run_with(
            wrong, environment, path, "alembic", "upgrade", "head", check=False
        )
        assert refused.returncode != 0
        output = refused.stdout + refused.stderr
        assert ODD_PASSWORD not in output
        assert quote(ODD_PASSWORD, safe="") not in output


@pooled
@pytest.mark.parametrize("name", ["DATABASE_URL_DIRECT", "DATABASE_URL_UNPOOLED"])
def test_direct_url_is_enough(
    environment: ServiceEnvironment, path: Path, database: Database, name: str
) -> None:
    run_with({name: database.url}, environment, path, "alembic", "upgrade", "head")
    assert "users" in tables(database)


@pooled
def test_direct_url_is_not_replaced(
    environment: ServiceEnvironment, path: Path, database: Database
) -> None:
    completed = environment.run(
        path, "alembic", "upgrade", "head", check=False, DATABASE_URL=database.url
    )
    assert completed.returncode != 0
    assert completed.stderr.startswith("DATABASE_URL_DIRECT is not set. Set it to ")
    assert tables(database) == set()


@pooled
def test_pooled_url_is_left_alone(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    service, migrations = postgres.create_database(), postgres.create_database()
    environment.run(
        path,
        *("alembic", "upgrade", "head"),
        DATABASE_URL=service.url,
        DATABASE_URL_DIRECT=migrations.url,
    )
    assert tables(service) == set()
    assert "users" in tables(migrations)


# Offline


@each_pair
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
    assert tables(database) <= {"alembic_version"}


# A new model, as the README says


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of mypy's caches, one for each driver."""
    return tmp_path_factory.mktemp("mypy")


def assert_clean(environment: ServiceEnvironment, path: Path, cache: Path) -> None:
    """Run the project's own checks."""
    environment.run(path, "ruff", "format", "--check")
    environment.run(path, "ruff", "check", "--no-fix")
    environment.run(path, "mypy", "--cache-dir", str(cache))


def add_model(path: Path) -> None:
    models = path / "app" / "models.py"
    replace_once(
        models, "from typing import", "from decimal import Decimal\nfrom typing import"
    )
    models.write_text(models.read_text() + ITEM)


def readme_commands(path: Path) -> list[list[str]]:
    """Return the commands that the README gives for a new model."""
    text = (path / "README.md").read_text().partition("To add a table")[2]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block, "the README does not say how to add a table"
    prefix = "uv run alembic "
    return [
        re.findall(r'"[^"]*"|\S+', line.removeprefix("uv run "))
        for line in block[1].splitlines()
        if line.startswith(prefix)
    ]


@each_pair
def test_new_model(
    environment: ServiceEnvironment,
    variant: Variant,
    path: Path,
    database: Database,
    mypy_cache: Path,
) -> None:
    settings = {direct_name(variant): database.url}
    run_with(settings, environment, path, "alembic", "upgrade", "head")
    add_model(path)
    commands = readme_commands(path)
    assert [command[1] for command in commands] == ["revision", "upgrade"]
    for command in commands:
        run_with(settings, environment, path, *(part.strip('"') for part in command))

    (revision,) = set((path / "alembic/versions").glob("*.py")) - {
        path / "alembic/versions/0001_create_teams_and_users.py"
    }
    assert re.fullmatch(r"\d{8}_[0-9a-f]+_add_items\.py", revision.name)
    assert "items" in tables(database)
    query = "SELECT conname FROM pg_constraint WHERE conrelid = 'items'::regclass"
    found = {name for (name,) in database.execute(f"{query} AND contype <> 'n'")}
    assert found == ITEM_CONSTRAINTS
    run_with(settings, environment, path, "alembic", "check")
    run_with(settings, environment, path, "alembic", "downgrade", "0001")
    assert "items" not in tables(database)
    run_with(settings, environment, path, "alembic", "upgrade", "head")

    assert_clean(environment, path, mypy_cache / variant.driver)
    environment.run(path, "pytest", "-q", "tests/test_migrations.py")


@each_driver
def test_revision_without_changes(
    environment: ServiceEnvironment,
    variant: Variant,
    path: Path,
    database: Database,
    mypy_cache: Path,
) -> None:
    """An empty revision, for SQL written by hand, is clean as well."""
    settings = {direct_name(variant): database.url}
    run_with(
        settings, environment, path, "alembic", "revision", "-m", 'say "it\'s" empty'
    )
    run_with(settings, environment, path, "alembic", "upgrade", "head")
    assert_clean(environment, path, mypy_cache / variant.driver)


# Locks

MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('alembic', 0))"
WAITS = "another process is migrating"

# A migration that commits half-way, as CREATE INDEX CONCURRENTLY needs it.
INDEX_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    op.add_column("users", sa.Column("note", sa.String()))
    with op.get_context().autocommit_block():
        op.create_index("ix_users_note", "users", ["note"], postgresql_concurrently=True)
    assert op.get_bind().scalar(sa.text("SHOW lock_timeout")) == "5s"
    op.add_column("users", sa.Column("after", sa.String()))
"""

SLOW_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    op.execute("SELECT pg_sleep(5)")
    lock = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended('alembic', 0))")
    assert not op.get_bind().scalar(lock), "the lock is gone"
"""
IDLE_LIMIT = 'await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))'


@dataclass(frozen=True)
class Run:
    """Alembic as a process, with its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text()

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(WAIT_SECONDS)


Start = Callable[..., Run]


@pytest.fixture
def start(
    environment: ServiceEnvironment, variant: Variant, path: Path, tmp_path: Path
) -> Iterator[Start]:
    """Start Alembic on a database; whatever still runs at the end is killed."""
    started: list[Run] = []

    def run(database: Database, *arguments: str) -> Run:
        log = tmp_path / f"alembic-{len(started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [environment.python, "-m", "alembic", *arguments],
                cwd=path,
                env=clean_environment(
                    environment, {direct_name(variant): database.url}
                ),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        started.append(Run(process, log))
        return started[-1]

    yield run
    for each in started:
        each.process.kill()
        each.process.wait()


def wait_until(condition: Callable[[], bool], *runs: Run) -> None:
    """Wait until something is so, while all of `runs` go on."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        for run in runs:
            assert run.process.poll() is None, run.output()
        assert time.monotonic() < deadline, [run.output() for run in runs]
        time.sleep(0.05)


def somebody_waits_for_a_table(database: Database) -> bool:
    return database.execute(
        "SELECT count(*) > 0 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND NOT granted AND locktype = 'relation'"
    ) == [(True,)]


@each_driver
def test_lock_timeout_is_for_tables_alone(postgres: Server, start: Start) -> None:
    """A migration gives up on a table in use, but not on another migration."""
    busy, waiting = postgres.create_database(), postgres.create_database()
    for database in (busy, waiting):
        run = start(database, "upgrade", "head")
        assert run.wait() == 0, run.output()

    with psycopg.connect(busy.url) as request, psycopg.connect(waiting.url) as other:
        request.execute("SELECT count(*) FROM users")
        other.execute(MIGRATION_LOCK)
        second = start(waiting, "downgrade", "base")
        wait_until(lambda: WAITS in second.output(), second)

        # The second waits longer than a whole lock timeout that starts after it.
        first = start(busy, "downgrade", "base")
        wait_until(lambda: somebody_waits_for_a_table(busy), first)
        assert first.wait() != 0
        assert "lock timeout" in first.output()
        assert second.process.poll() is None, second.output()
        other.rollback()
        assert second.wait() == 0, second.output()
    assert tables(busy) == {"alembic_version", "teams", "users"}
    assert tables(waiting) == {"alembic_version"}


def migrate_at_once(database: Database, start: Start, count: int) -> list[Run]:
    """Start several migrations that all find one under way, then let them go on."""
    with psycopg.connect(database.url) as other:
        other.execute(MIGRATION_LOCK)
        runs = [start(database, "upgrade", "head") for _ in range(count)]
        wait_until(lambda: all(WAITS in run.output() for run in runs), *runs)
        other.rollback()
    codes = [run.wait() for run in runs]
    assert codes == [0] * count, [run.output() for run in runs]
    return runs


@each_driver
def test_several_at_once(database: Database, start: Start) -> None:
    runs = migrate_at_once(database, start, 4)
    outputs = "".join(run.output() for run in runs)
    assert outputs.count("Running upgrade  -> 0001") == 1


@each_driver
def test_migration_that_commits_keeps_its_turn(
    path: Path, database: Database, start: Start
) -> None:
    (path / "alembic" / "versions" / "0002_note.py").write_text(INDEX_REVISION)
    runs = migrate_at_once(database, start, 3)
    outputs = "".join(run.output() for run in runs)
    assert outputs.count("Running upgrade 0001 -> 0002") == 1
    query = (
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_users_note'::regclass"
    )
    assert database.execute(query) == [(True,)]


@each_driver
@pytest.mark.parametrize("limit_lifted", [True, False])
def test_idle_transactions_may_be_forbidden(
    path: Path, database: Database, start: Start, limit_lifted: bool
) -> None:
    """The lock's transaction outlives the server's limit on idle ones."""
    (path / "alembic" / "versions" / "0002_slow.py").write_text(SLOW_REVISION)
    if not limit_lifted:
        replace_once(path / "alembic" / "env.py", IDLE_LIMIT, "pass")
    database.execute(
        f'ALTER DATABASE "{database.name}" SET idle_in_transaction_session_timeout = 3000'
    )
    run = start(database, "upgrade", "head")
    assert (run.wait() == 0) == limit_lifted, run.output()


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
    assert "users" in tables(database)
    failed = run_script(environment, path, path, {})
    assert failed.returncode != 0
    assert "complete" not in failed.stdout
    assert f"{direct_name(variant)} is not set" in failed.stderr


# The tests find what they look for


@each_driver
def test_missing_lock_timeout_is_found(
    path: Path, database: Database, start: Start
) -> None:
    """Set once, the lock timeout ends where a migration commits."""
    replace_once(
        path / "alembic" / "env.py",
        'event.listen(connection, "begin", limit_lock_waits)\n',
        'event.listen(connection, "begin", limit_lock_waits, once=True)\n',
    )
    (path / "alembic" / "versions" / "0002_note.py").write_text(INDEX_REVISION)
    run = start(database, "upgrade", "head")
    assert run.wait() != 0
    assert "AssertionError" in run.output()


@each_driver
def test_missing_migration_lock_is_found(
    path: Path, database: Database, start: Start
) -> None:
    """Without the lock, a migration does not wait for another one."""
    replace_once(path / "alembic" / "env.py", "        await wait_for_turn(turn)\n", "")
    with psycopg.connect(database.url) as other:
        other.execute(MIGRATION_LOCK)
        run = start(database, "upgrade", "head")
        assert run.wait() == 0, run.output()
    assert WAITS not in run.output()
    assert "users" in tables(database)


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
    add_model(path)
    run_with(
        settings,
        environment,
        path,
        "alembic",
        "revision",
        "--autogenerate",
        "-m",
        "add items",
    )
    for command in (("ruff", "format", "--check"), ("ruff", "check", "--no-fix")):
        assert environment.run(path, *command, check=False).returncode == 1, command
