"""Rendered services under Docker Compose, from the README's commands to `down`.

Needs Docker with Compose v2. Neon is played by a plain Postgres on the stack's network.
"""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations, product
from pathlib import Path

import psycopg
import pytest

from lab.containers import docker
from lab.copies import replace_once, working_copy
from lab.images import archive_holds, faults, size
from lab.pairs import covering_variants, pairs_of_all
from lab.projects import Bakery
from lab.stacks import Stack, environment, neon_stand_in, running_stack, wait_until
from lab.variants import CHOICES, VARIANTS, Variant, in_turn

# The tests of this file share one slug, so that Docker builds once for each driver and
# each Python.
NAME = f"compose-suite-{os.getpid()}"
OTHER_NAME = f"{NAME}-other"

QUESTIONS = ("database", "pool", "driver", "migrate_service")
ANSWERS: dict[str, tuple[object, ...]] = {
    "database": tuple(CHOICES["database"]),
    "pool": tuple(pool for pool in CHOICES["pool"] if pool != "auto"),
    "driver": tuple(CHOICES["driver"]),
    "migrate_service": (True, False),
}
COVERING = in_turn(covering_variants(VARIANTS, QUESTIONS))
MIGRATING = [variant for variant in COVERING if variant.migrate_service]
DRIVERS = CHOICES["driver"]

# Nothing in it needs percent-encoding; Compose would replace all but the first $.
DOLLAR_PASSWORD = "a$$b$HOME${c}d$"  # noqa: S105 (of a container of this file)
MARK = "only-in-the-env-file-4f1c"
MOST_MEGABYTES = 110
UPGRADE = "def upgrade() -> None:\n"
FAILURE = "this migration fails on purpose"
LAST_MESSAGE = "Migrations complete."

pytestmark = pytest.mark.usefixtures("docker_engine")

MakeStack = Callable[..., Stack]


@pytest.fixture(scope="module", autouse=True)
def remove_images() -> Iterator[None]:
    """Remove the images of this suite after its last test."""
    yield
    ours = [f"--filter=reference={name}" for name in (NAME, f"{NAME}-*")]
    if images := docker(
        "image", "ls", "--format={{.Repository}}", *ours
    ).stdout.split():
        docker("image", "rm", "--force", *images, check=False)


@pytest.fixture
def make_stack(bake: Bakery) -> Iterator[MakeStack]:
    """Return a function that renders a variant and configures its stack."""
    with ExitStack() as cleanup:

        def make(variant: Variant, name: str = NAME, **settings: str | None) -> Stack:
            return cleanup.enter_context(
                configured_stack(bake, variant, name, settings)
            )

        yield make


@contextmanager
def configured_stack(
    bake: Bakery, variant: Variant, name: str, settings: dict[str, str | None]
) -> Iterator[Stack]:
    """Render a variant, copy it, and fill in its `.env`; remove its stack at the end."""
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(rendered(bake, variant, name))
        if variant.database == "neon":
            pooled, direct = cleanup.enter_context(
                neon_stand_in(f"{name}-neon", DOLLAR_PASSWORD)
            )
            urls: dict[str, str | None] = {
                "NEON_POOLED_URL": f"'{pooled}'",
                "NEON_DIRECT_URL": f"'{direct}'",
            }
            settings = urls | settings
            override = f"networks: {{default: {{name: {name}-neon, external: true}}}}\n"
            (folder / "docker-compose.override.yml").write_text(override)
        stack = cleanup.enter_context(running_stack(folder))
        stack.configure(**settings)
        yield stack


@contextmanager
def rendered(bake: Bakery, variant: Variant, name: str = NAME) -> Iterator[Path]:
    """Render a variant under a name, and return a copy that a test may change."""
    project = bake(variant, project_slug=name)
    with tempfile.TemporaryDirectory() as folder:
        yield working_copy(project, Path(folder))


def first_with(variants: list[Variant], **answers: object) -> Variant:
    """Return the first variant that has the given answers."""
    return next(
        variant for variant in variants if answers.items() <= vars(variant).items()
    )


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


@pytest.fixture
def run_tests() -> Iterator[Callable[[Stack], subprocess.CompletedProcess[str]]]:
    """Return a function that runs a project's tests with the README's command."""
    stacks: list[Stack] = []

    def run(stack: Stack) -> subprocess.CompletedProcess[str]:
        stacks.append(stack)
        readme = (stack.folder / "README.md").read_text(encoding="utf-8")
        assert f"\ndocker compose {' '.join(TEST_COMMAND)}\n" in readme
        return stack.compose(*TEST_COMMAND, check=False)

    yield run
    for stack in stacks:
        stack.compose("-f", "docker-compose.test.yml", "down", "--volumes")


@pytest.mark.parametrize("variant", COVERING, ids=str)
def test_life_of_a_stack(
    make_stack: MakeStack,
    run_tests: Callable[[Stack], subprocess.CompletedProcess[str]],
    variant: Variant,
    report: list[str],
) -> None:
    stack = make_stack(variant)
    assert_no_warnings(stack)

    stack.start()

    assert stack.healthy()
    assert_ports_are_private(stack)
    if variant.migrate_service:
        assert_migrated_before_start(stack)
    users = stack.create_users("ada", "bob", "cy")
    assert stack.users() == users
    tests = assert_tests_pass(run_tests(stack))
    assert stack.users() == users
    restart_api(stack)
    assert stack.users() == users
    stop_api(stack)
    stack.compose("down")
    assert stack.services() == set()
    stack.up()
    assert stack.users() == users
    report.append(
        f"{variant}, Python {variant.python_version}, PostgreSQL"
        f" {variant.postgres_version}: {len(users)} users kept over restart, stop and"
        f" down; {tests} of its tests passed beside the service"
    )


def assert_tests_pass(tested: subprocess.CompletedProcess[str]) -> str:
    """Check a run of the project's tests; return how many there were."""
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert " passed" in tested.stdout
    assert volumes(f"{NAME}-test") == []
    return tested.stdout.rpartition(" passed")[0].split()[-1]


def volumes(project: str) -> list[str]:
    """Return the names of the volumes that Compose made for a project."""
    label = f"label=com.docker.compose.project={project}"
    return docker("volume", "ls", "--quiet", "--filter", label).stdout.split()


def assert_no_warnings(stack: Stack) -> None:
    """Check both Compose files, which Compose must take without a word."""
    for options in ([], ["-f", "docker-compose.test.yml"]):
        checked = stack.compose(*options, "config", "--quiet")
        assert (checked.stdout, checked.stderr) == ("", ""), options


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


def restart_api(stack: Stack) -> None:
    """Restart the API and wait until it is healthy again."""
    before = stack.container("api")["State"]["StartedAt"]
    stack.compose("restart", "api")
    assert stack.container("api")["State"]["StartedAt"] != before
    wait_until(stack.healthy, "a healthy API after its restart")


def stop_api(stack: Stack) -> None:
    """Stop the API, which must end by itself. After the grace period it is killed: 137."""
    stack.compose("stop", "api")
    state = stack.container("api")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0), stack.logs("api")


def test_missing_settings_are_named(bake: Bakery) -> None:
    for variant in COVERING:
        with rendered(bake, variant) as folder:
            checked = Stack(folder).compose("config", "--quiet", check=False)

        # Compose names one of those that are missing, not always the same one.
        missing = "POSTGRES_PASSWORD" if variant.local_database else "NEON_"
        assert checked.returncode != 0
        assert missing in checked.stderr
        assert ".env" in checked.stderr


PROFILES: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "profile-in-env": ({}, ()),
    "profile-as-option": ({"COMPOSE_PROFILES": None}, ("--profile", "migrate")),
}


@pytest.mark.parametrize(
    ("database", "profile"),
    [
        *((database, "profile-in-env") for database in CHOICES["database"]),
        ("postgres", "profile-as-option"),
    ],
)
def test_failing_migration_keeps_the_api_from_starting(
    make_stack: MakeStack, database: str, profile: str, report: list[str]
) -> None:
    settings, options = PROFILES[profile]
    stack = make_stack(first_with(MIGRATING, database=database), **settings)
    break_migration(stack)

    outcome = up_until_migrations_failed(stack, *options)

    assert not stack.started("api"), stack.logs("api")
    assert FAILURE in stack.logs("migrate")
    assert outcome != 0
    report.append(f"{database}, {profile}: migration failed, API not started")


def test_an_api_that_starts_all_the_same_is_noticed(make_stack: MakeStack) -> None:
    stack = make_stack(first_with(MIGRATING, database="postgres"))
    break_migration(stack)
    retry = "    restart: on-failure\n"
    replace_once(stack.folder / "docker-compose.yml", retry, "")

    up_until_migrations_failed(stack)

    assert stack.started("api")


def break_migration(stack: Stack) -> None:
    """Let the project's first migration fail."""
    (migration,) = (stack.folder / "alembic" / "versions").glob("*.py")
    replace_once(migration, UPGRADE, f"{UPGRADE}    raise RuntimeError('{FAILURE}')\n")


def up_until_migrations_failed(stack: Stack, *options: str) -> int | None:
    """Run `up` until it ends or has seen two failures; return its exit code, if any.

    A project may try again. It then has to keep the API waiting each time.
    """
    command = ("docker", "compose", *options, "up", "--build", "--detach", "--wait")
    with subprocess.Popen(
        command,
        cwd=stack.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(
                lambda: (
                    process.poll() is not None
                    or stack.started("api")
                    or stack.logs("migrate").count(f"RuntimeError: {FAILURE}") > 1
                ),
                "a failed migration",
            )
            return process.poll()
        finally:
            process.kill()


@pytest.mark.parametrize("variant", MIGRATING, ids=str)
def test_without_the_profile_a_command_migrates(
    make_stack: MakeStack, variant: Variant
) -> None:
    stack = make_stack(variant, COMPOSE_PROFILES=None)
    assert_no_warnings(stack)

    stack.up()

    assert "migrate" not in stack.services()
    with stack.client() as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/users").status_code >= 500
    stack.compose("run", "--rm", "api", "alembic", "upgrade", "head")
    users = stack.create_users("ada")
    assert stack.users() == users


def test_a_broken_test_ends_with_pytests_exit_code(
    make_stack: MakeStack,
    run_tests: Callable[[Stack], subprocess.CompletedProcess[str]],
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
    one = make_stack(first_with(COVERING, database="postgres", driver="asyncpg"))
    other = make_stack(
        first_with(COVERING, database="pgbouncer", driver="psycopg"), OTHER_NAME
    )

    one.start()
    users = one.create_users("ada")
    other.start()

    assert other.users() == []
    others = other.create_users("bob", "cy")
    other.compose("down", "--volumes")
    assert one.users() == users
    assert len(others) == 2


def test_a_dollar_survives_in_single_quotes(make_stack: MakeStack) -> None:
    stack = make_stack(first_with(COVERING, database="neon"))
    quoted = "postgresql://app:a$$b$HOME${c}d$@host/app"
    example = (stack.folder / ".env.example").read_text(encoding="utf-8")
    assert "single quotes" in example

    stack.configure(NEON_POOLED_URL=f"'{quoted}'", NEON_DIRECT_URL="'x'")
    stack.compose("build", "api")

    assert stack.variable("DATABASE_URL") == quoted
    stack.configure(NEON_POOLED_URL=quoted, NEON_DIRECT_URL="'x'")
    assert stack.variable("DATABASE_URL") != quoted


@pytest.mark.parametrize("database", ["postgres", "pgbouncer"])
def test_a_changed_password_reaches_every_part(
    make_stack: MakeStack, database: str
) -> None:
    password = "another-Password_2"  # noqa: S105 (of a container of this test)
    stack = make_stack(
        first_with(MIGRATING, database=database), POSTGRES_PASSWORD=password
    )

    stack.start()

    users = stack.create_users("ada")
    assert stack.users() == users
    assert_only_password(stack, f"127.0.0.1:{stack.db_port}", password)
    if database == "pgbouncer":
        assert "pgbouncer:6432" in stack.variable("DATABASE_URL")
        assert pgbouncer_takes(stack, password)
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
def test_a_read_only_root_filesystem_is_enough(
    make_stack: MakeStack, driver: str
) -> None:
    stack = make_stack(first_with(COVERING, driver=driver, database="postgres"))
    services = ["api"]
    if "migrate" in stack.compose("config", "--services").stdout.split():
        services.append("migrate")
    read_only = "".join(f"  {name}: {{read_only: true}}\n" for name in services)
    (stack.folder / "docker-compose.override.yml").write_text(f"services:\n{read_only}")

    stack.start()

    assert stack.container("api")["HostConfig"]["ReadonlyRootfs"]
    written = stack.compose("exec", "-T", "api", "touch", "x", check=False)
    assert "Read-only file system" in written.stderr
    users = stack.create_users("ada")
    assert stack.users() == users
    stop_api(stack)


@pytest.fixture(scope="module")
def runtime_images(bake: Bakery) -> Callable[[str], str]:
    """Return a function that builds a driver's runtime image, from a lived-in folder."""

    def build(driver: str) -> str:
        variant = first_with(COVERING, driver=driver, database="postgres")
        with rendered(bake, variant) as folder:
            litter(folder)
            docker("build", "--target=runtime", f"--tag={NAME}", str(folder))
        return NAME

    return build


def litter(folder: Path) -> None:
    """Leave what a person's work leaves in a project: secrets, caches, an environment."""
    for name in (".env", ".env.local"):
        (folder / name).write_text(f"POSTGRES_PASSWORD={MARK}\n")
    for name in ("app/__pycache__/main.cpython-313.pyc", ".venv/bin/gcc"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(MARK)


def base_image(folder: Path) -> str:
    """Return a tag for the image that the project's runtime image is built on."""
    dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
    (line,) = (each for each in dockerfile.splitlines() if each.endswith("AS runtime"))
    return build_from(f"FROM {line.split()[1]}\n", f"{NAME}-base")


def build_from(dockerfile: str, tag: str) -> str:
    """Build a Dockerfile that needs no other files."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(dockerfile)
        docker("build", f"--tag={tag}", folder)
    return tag


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_runtime_image_holds_what_it_needs(
    bake: Bakery,
    runtime_images: Callable[[str], str],
    driver: str,
    report: list[str],
) -> None:
    image = runtime_images(driver)
    with rendered(bake, first_with(COVERING, driver=driver)) as folder:
        base = base_image(folder)

    assert faults(image, base, MARK) == []
    whole, added = size(image) / 1e6, (size(image) - size(base)) / 1e6
    report.append(
        f"{driver}: runtime image {whole:.0f} MB, {added:.0f} MB above its base"
    )
    assert 0 < added <= MOST_MEGABYTES


def test_the_faults_of_an_image_are_found(
    bake: Bakery, runtime_images: Callable[[str], str]
) -> None:
    with rendered(bake, COVERING[0]) as folder:
        base = base_image(folder)
    added = (
        *("/usr/bin/gcc", "/bin/uv", "/app/.venv/bin/pytest", "/app/.env"),
        *(
            "/app/tests/test_users.py",
            "/root/.cache/uv/x",
            "/app/app/__pycache__/x.pyc",
        ),
    )
    create = " && ".join(f"install -D /dev/null {name}" for name in added)
    broken = build_from(
        f"FROM {runtime_images(DRIVERS[0])}\nUSER root\nRUN {create}\n"
        f"RUN echo {MARK[:4]} > /x && echo {MARK} > /x\nRUN rm /x\n",
        f"{NAME}-broken",
    )

    assert set(faults(broken, base, MARK)) == {
        "it runs as root",
        "a layer holds the secret",
        "compiler: usr/bin/gcc",
        "development tool: usr/bin/uv",
        "development tool: app/.venv/bin/pytest",
        "environment file: app/.env",
        "not needed: app/tests/test_users.py",
        "cache: root/.cache/uv/x",
        "cache: app/app/__pycache__/x.pyc",
    }


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_secret_in_a_layer_is_found(compress: Callable[[bytes], bytes]) -> None:
    saved = io.BytesIO()
    with tarfile.open(fileobj=saved, mode="w") as archive:
        for text in (b"nothing", f"PASSWORD={MARK}".encode()):
            layer = compress(text)
            member = tarfile.TarInfo(f"blobs/{len(layer)}")
            member.size = len(layer)
            archive.addfile(member, io.BytesIO(layer))

    assert archive_holds(io.BytesIO(saved.getvalue()), MARK.encode())
    assert not archive_holds(io.BytesIO(saved.getvalue()), b"another")


def test_the_image_follows_a_lock_file(bake: Bakery) -> None:
    with rendered(bake, COVERING[0]) as folder:
        stack = Stack(folder)
        stack.command("uv", "lock", "--quiet", "--upgrade-package", "alembic==1.18.0")
        build = ("docker", "build", "--target=runtime", f"--tag={NAME}-locked", ".")

        stack.command(*build)

        version = docker("run", "--rm", f"{NAME}-locked", "alembic", "--version").stdout
        assert version.split() == ["alembic", "1.18.0"]
        replace_once(folder / "pyproject.toml", "alembic>=1.18,", "alembic>=1.18.1,")
        stale = stack.command(*build, check=False)
        assert stale.returncode != 0
        assert "lockfile" in stale.stderr


def test_the_image_needs_no_lock_file(
    bake: Bakery, runtime_images: Callable[[str], str]
) -> None:
    with rendered(bake, COVERING[0]) as folder:
        assert not (folder / "uv.lock").exists()
    image = runtime_images(COVERING[0].driver)
    version = docker("run", "--rm", image, "alembic", "--version").stdout
    assert version.split() > ["alembic", "1.18.0"]
