"""Rendered services under Docker Compose, from the README's commands to `down`.

The life of a stack, with a password of one's own, in variants that hold every pair of
answers, with the versions in turn. On the stack's network, Neon is played by a plain
Postgres, for its look-alike has tests of its own, and Supabase by its look-alike. What Compose itself does is tried once; the files are compared for all variants.
"""

import re
import shutil
import subprocess
from itertools import combinations, product

import psycopg
import pytest

from lab.containers import docker, docker_network
from lab.pairs import each_answer, pairs_of_all
from lab.stacks import Stack
from lab.supabase import POOLER_USER, supabase_look_alike, takes
from lab.variants import CHOICES, VARIANTS, Variant
from lab.waiting import wait_until
from tests.containers.compose_stacks import (
    COVERING,
    DRIVERS,
    LAST_MESSAGE,
    MIGRATING,
    NAME,
    QUESTIONS,
    MakeStack,
    assert_no_warnings,
    first_with,
    stop_api,
)

OTHER_NAME = f"{NAME}-other"
PASSWORD = "another-Password_2"  # noqa: S105 (of containers of this file)
ANSWERS: dict[str, tuple[object, ...]] = {
    "database": tuple(CHOICES["database"]),
    "pool": tuple(pool for pool in CHOICES["pool"] if pool != "auto"),
    "driver": tuple(CHOICES["driver"]),
    "migrate_service": (True, False),
}
# What keeps the data is the database's; what runs again is the migrate service.
ENDED = each_answer("database", "migrate_service", among=COVERING)
pytestmark = pytest.mark.usefixtures("docker_engine", "remove_images")


def test_the_variants_cover_every_pair(report: list[str]) -> None:
    wanted = {
        frozenset({(first, one), (second, other)})
        for first, second in combinations(QUESTIONS, 2)
        for one, other in product(ANSWERS[first], ANSWERS[second])
    }

    assert pairs_of_all(COVERING, QUESTIONS) == wanted
    smallest = len(CHOICES["database"]) * len(DRIVERS)
    assert len(COVERING) == smallest
    for name in ("postgres_version", "python_version"):
        assert {getattr(variant, name) for variant in COVERING} == set(CHOICES[name])
    report.append(f"{len(COVERING)} variants hold all {len(wanted)} pairs of answers")


@pytest.mark.parametrize("left_out", COVERING, ids=str)
def test_each_variant_is_needed(left_out: Variant) -> None:
    others = [variant for variant in COVERING if variant != left_out]

    assert pairs_of_all(others, QUESTIONS) < pairs_of_all(VARIANTS, QUESTIONS)


TEST_COMMAND = (
    *("-f", "docker-compose.test.yml", "up", "--build"),
    *("--exit-code-from", "test"),
)


def run_tests(stack: Stack) -> subprocess.CompletedProcess[str]:
    """Run a project's tests with the README's command, and remove their containers."""
    readme = (stack.folder / "README.md").read_text(encoding="utf-8")
    assert f"\ndocker compose {' '.join(TEST_COMMAND)}\n" in readme
    try:
        return stack.compose(*TEST_COMMAND, check=False)
    finally:
        stack.compose("-f", "docker-compose.test.yml", "down", "--volumes")


@pytest.mark.parametrize("variant", COVERING, ids=str)
def test_life_of_a_stack(
    make_stack: MakeStack, variant: Variant, report: list[str]
) -> None:
    password = {"POSTGRES_PASSWORD": PASSWORD} if variant.local_database else {}
    stack = make_stack(variant, **password)
    assert_no_warnings(stack)

    stack.start()

    assert stack.healthy()
    assert_ports_are_private(stack)
    assert_only_the_changed_password(stack)
    if variant.migrate_service:
        assert_migrated_before_start(stack)
    users = stack.create_users("ada", "bob", "cy")
    assert stack.users() == users
    volumes_before = volumes(NAME)
    tests = assert_tests_pass(run_tests(stack))
    assert volumes(NAME) == volumes_before
    assert stack.users() == users
    kept = ""
    if variant in ENDED:
        end_and_start_again(stack)
        assert stack.users() == users
        kept = f"{len(users)} users kept over restart, stop and down; "
    report.append(
        f"{variant}, Python {variant.python_version}, PostgreSQL"
        f" {variant.postgres_version}: {kept}{tests} of its tests passed beside the"
        " service"
    )


def assert_tests_pass(tested: subprocess.CompletedProcess[str]) -> str:
    """Check a run of the project's tests; return how many there were."""
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert " passed" in tested.stdout
    return tested.stdout.rpartition(" passed")[0].split()[-1]


def volumes(project: str) -> list[str]:
    """Return the names of the volumes that Compose made for a project."""
    label = f"label=com.docker.compose.project={project}"
    return docker("volume", "ls", "--quiet", "--filter", label).stdout.split()


def assert_ports_are_private(stack: Stack) -> None:
    """Check that only this machine reaches the published ports."""
    for service in stack.services() - {"migrate"}:
        ports = stack.container(service)["NetworkSettings"]["Ports"]
        bound = [binding for bindings in ports.values() for binding in bindings or []]
        assert {binding["HostIp"] for binding in bound} <= {"127.0.0.1"}, service


def assert_migrated_before_start(stack: Stack) -> None:
    """Check that the migrations ended, with success, before the API's process began."""
    migrate, api = (stack.container(service)["State"] for service in ("migrate", "api"))
    assert (migrate["Status"], migrate["ExitCode"]) == ("exited", 0)
    assert migrate["FinishedAt"] < api["StartedAt"]
    assert LAST_MESSAGE in stack.logs("migrate")


def end_and_start_again(stack: Stack) -> None:
    """Restart the API, stop it, remove all containers, and start them again."""
    restart_api(stack)
    stop_api(stack)
    stack.compose("down")
    assert stack.services() == set()
    stack.up()


def restart_api(stack: Stack) -> None:
    """Restart the API and wait until it is healthy again."""
    before = stack.container("api")["State"]["StartedAt"]
    stack.compose("restart", "api")
    assert stack.container("api")["State"]["StartedAt"] != before
    wait_until(stack.healthy, "a healthy API after its restart")


def test_without_the_profile_a_command_migrates(make_stack: MakeStack) -> None:
    stack = make_stack(MIGRATING[0], COMPOSE_PROFILES=None)
    assert_no_warnings(stack)

    stack.compose("up", "--build", "--detach")

    assert "migrate" not in stack.services()
    wait_until(lambda: "/health/db" in stack.logs("api"), "a health check")
    assert not stack.healthy()
    with stack.client() as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/users").status_code == 503
    stack.compose("run", "--rm", "api", "alembic", "upgrade", "head")
    wait_until(stack.healthy, "a migrated database")
    users = stack.create_users("ada")
    assert stack.users() == users
    readme = (stack.folder / "README.md").read_text(encoding="utf-8")
    [job] = re.findall(r"`(docker compose run --rm api python -m [^`]+)`", readme)
    assert "deleted 0 teams" in stack.command(*job.split()).stderr


def test_a_broken_test_ends_with_pytests_exit_code(
    make_stack: MakeStack,
) -> None:
    stack = make_stack(first_with(COVERING, database="postgres"))
    shutil.rmtree(stack.folder / "tests")
    (stack.folder / "tests").mkdir()
    broken = "def test_broken() -> None:\n    assert not 'broken'\n"
    (stack.folder / "tests" / "test_broken.py").write_text(broken)

    tested = run_tests(stack)

    assert tested.returncode == 1, tested.stdout + tested.stderr
    assert "1 failed" in tested.stdout


def test_two_stacks_side_by_side(make_stack: MakeStack) -> None:
    """Each has a driver, and a read-only root filesystem, which is enough."""
    one = make_stack(first_with(COVERING, database="postgres", driver="asyncpg"))
    other = make_stack(
        first_with(COVERING, database="pgbouncer", driver="psycopg"), OTHER_NAME
    )

    for stack in (one, other):
        make_read_only(stack)
    one.start()
    users = one.create_users("ada")
    other.start()

    assert other.users() == []
    others = other.create_users("bob", "cy")
    for stack in (one, other):
        assert_read_only(stack)
    stop_api(other)
    other.compose("down", "--volumes")
    assert one.users() == users
    assert len(others) == 2
    stop_api(one)


def test_settings_reach_the_container_unchanged(make_stack: MakeStack) -> None:
    """A dollar in single quotes, and a setting that the Compose file does not know."""
    stack = make_stack(first_with(COVERING, database="neon"))
    quoted = "postgresql://app:a$$b$HOME${c}d$@host/app"
    example = (stack.folder / ".env.example").read_text(encoding="utf-8")
    assert "single quotes" in example

    stack.configure(NEON_POOLED_URL=f"'{quoted}'", NEON_DIRECT_URL="'x'")
    stack.compose("build", "api")

    assert stack.variable("DATABASE_URL") == quoted
    stack.configure(NEON_POOLED_URL=quoted, NEON_DIRECT_URL="'x'")
    assert stack.variable("DATABASE_URL") != quoted
    (stack.folder / "settings.env").write_text("CORS_ORIGINS=https://a,https://b\n")
    assert stack.variable("CORS_ORIGINS") == "https://a,https://b"


def test_the_pooler_of_supabase_asks_for_the_project() -> None:
    """What Supabase's look-alike takes, and what it refuses as Supabase does."""
    with (
        docker_network(f"{NAME}-alone") as network,
        supabase_look_alike(network, PASSWORD) as urls,
    ):
        for url in urls:
            assert takes(network, url)
            assert not takes(network, url.replace(POOLER_USER, "postgres"))
            assert not takes(network, url.replace(PASSWORD, "wrong"))
            assert not takes(network, url.replace("=require", "=disable"))


def make_read_only(stack: Stack) -> None:
    """Give what runs the project's image a read-only root filesystem."""
    services = set(stack.compose("config", "--services").stdout.split())
    read_only = "".join(
        f"  {name}: {{read_only: true}}\n" for name in services & {"api", "migrate"}
    )
    (stack.folder / "docker-compose.override.yml").write_text(f"services:\n{read_only}")


def assert_read_only(stack: Stack) -> None:
    """Check that nothing can be written into the API's container."""
    assert stack.container("api")["HostConfig"]["ReadonlyRootfs"]
    written = stack.compose("exec", "-T", "api", "touch", "x", check=False)
    assert "Read-only file system" in written.stderr


def assert_only_the_changed_password(stack: Stack) -> None:
    """Check that the password has reached every part that Compose runs."""
    if "db" in stack.services():
        assert_only_password(stack, f"127.0.0.1:{stack.db_port}", PASSWORD)
    if "pgbouncer" in stack.services():
        assert "pgbouncer:6432" in stack.variable("DATABASE_URL")
        assert pgbouncer_takes(stack, PASSWORD)
        assert not pgbouncer_takes(stack, "postgres")


def assert_only_password(stack: Stack, address: str, password: str) -> None:
    """Check that the server takes the password, and not the one of `.env.example`."""
    example = (stack.folder / ".env.example").read_text(encoding="utf-8")
    assert "\nPOSTGRES_PASSWORD=postgres\n" in example
    psycopg.connect(f"postgresql://app:{password}@{address}/app").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(f"postgresql://app:postgres@{address}/app")


def pgbouncer_takes(stack: Stack, password: str) -> bool:
    """Tell whether PgBouncer lets a client in with the password."""
    url = f"postgresql://app:{password}@pgbouncer:6432/app"
    query = ("psql", url, "--command=SELECT 1")
    return stack.compose("exec", "-T", "db", *query, check=False).returncode == 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_little_is_allowed_and_enough(make_stack: MakeStack, driver: str) -> None:
    stack = make_stack(first_with(COVERING, driver=driver, database="postgres"))

    stack.start()

    written = stack.compose("exec", "-T", "api", "touch", "x", check=False)
    assert "Read-only file system" in written.stderr
    stack.compose("exec", "-T", "api", "touch", "/tmp/x")  # noqa: S108
    status = stack.compose("exec", "-T", "api", "cat", "/proc/1/status").stdout
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    users = stack.create_users("ada")
    assert stack.users() == users
    stop_api(stack)
