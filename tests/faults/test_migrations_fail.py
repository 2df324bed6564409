"""Migrations that start together, or die half-way.

Both drivers, which report errors in ways of their own, and both ways to the server.
The pool is none of theirs: a migration has one connection.
"""

from pathlib import Path

import pytest

from lab.copies import working_copy
from lab.migrations import add_revision, another_migrates, migrate, migrations_at_once
from lab.prepared import DRIVERS, chosen, copy_database
from lab.projects import Bakery
from lab.waiting import wait_until
from tests.faults.sites import Environments, Servers, line


@pytest.mark.parametrize("way", ["direct", "through-pgbouncer"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_four_migrations_at_once(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    driver: str,
    way: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    """All wait for a fifth that holds their lock, so that none can be over too soon."""
    variant = chosen("postgres" if way == "direct" else "pgbouncer", "nullpool", driver)
    project = bake(variant).path
    database = servers.server.create_database()
    url = servers.url(variant, database)
    environment = environments(driver)
    with (
        another_migrates(database) as fifth,
        migrations_at_once(environment, project, url, tmp_path, 4) as four,
    ):
        wait_until(lambda: all(each.waits() for each in four), "migrations that wait")
        fifth.rollback()
        codes = [migration.wait() for migration in four]
    outputs = [migration.output() for migration in four]
    assert codes == [0] * len(four), outputs
    upgrades = [output.count("Running upgrade") for output in outputs]
    assert sorted(upgrades) == [0, 0, 0, 1]
    assert database.execute(VERSION) == [("0001",)]
    assert not database.execute("SELECT id FROM users")
    text = f" {len(four)} waited, {sum(upgrades)} migrated, exit codes {codes}"
    report.append(line("migrations at once", variant, text))


SCHEMA = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
)
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
VERSION = "SELECT version_num FROM alembic_version"

HALF = """op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
op.alter_column("users", "name", type_=sa.Text())
op.execute("UPDATE users SET name = 'half-way'")
"""
DEATHS = {
    "raises": 'raise RuntimeError("half-way")',
    "wrong-sql": 'op.execute("SELECT no_such_column FROM users")',
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_migration_that_dies_half_way(  # noqa: PLR0913, PLR0917
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    driver: str,
    death: str,
    tmp_path: Path,
    report: list[str],
) -> None:
    variant = chosen("postgres", "nullpool", driver)
    environment = environments(driver)
    database = copy_database(servers.server, servers.template)
    database.execute("INSERT INTO users VALUES (1, 'whole', 'a@b', NULL, now(), now())")
    questions = (SCHEMA, INDEXES, VERSION, "SELECT * FROM users")
    before = [database.execute(question) for question in questions]
    project = working_copy(bake(variant), tmp_path)
    add_revision(project, HALF + DEATHS[death])
    upgrade = ("alembic", "upgrade", "head")
    run = environment.run(project, *upgrade, check=False, DATABASE_URL=database.url)
    assert run.returncode != 0
    assert [database.execute(question) for question in questions] == before
    add_revision(project, HALF)
    migrate(project, environment, database)
    assert database.execute("SELECT name FROM users") == [("half-way",)]
    assert [database.execute(question) for question in questions] != before
    text = f" {death}: schema and rows as before, and migrates when mended"
    report.append(line("migration that dies", variant, text))
