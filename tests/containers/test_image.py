"""The runtime image holds what it needs, and follows a lock file.

Each driver, whose packages the image holds. The other answers add no package.
"""

import gzip
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.containers import address, docker, postgres_container
from lab.copies import replace_once
from lab.images import archive_holds, faults, size
from lab.prepared import chosen
from lab.projects import Bakery
from lab.stacks import Stack
from lab.waiting import wait_until
from tests.containers.compose_stacks import (
    COVERING,
    DRIVERS,
    NAME,
    first_with,
    rendered,
)

pytestmark = pytest.mark.usefixtures("docker_engine", "remove_images")

MARK = "only-in-the-env-file-4f1c"
MOST_MEGABYTES = 110
IMAGED = {driver: first_with(COVERING, driver=driver) for driver in DRIVERS}


@pytest.fixture(scope="module")
def runtime_images(bake: Bakery) -> Callable[[str], str]:
    """Return a function that builds a driver's runtime image, from a lived-in folder."""

    def build(driver: str) -> str:
        with rendered(bake, IMAGED[driver]) as folder:
            litter(folder)
            docker("build", "--target=runtime", f"--tag={NAME}", str(folder))
        return NAME

    return build


def litter(folder: Path) -> None:
    """Leave what a person's work leaves in a project: secrets, caches, an environment."""
    for name in (".env", ".env.local", "settings.env"):
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
    with rendered(bake, IMAGED[driver]) as folder:
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
    with rendered(bake, IMAGED[DRIVERS[0]]) as folder:
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


def test_an_image_says_what_it_is(bake: Bakery) -> None:
    with rendered(bake, IMAGED[DRIVERS[0]]) as folder:
        arguments = ("--target=runtime", "--build-arg=REVISION=4f1c")
        docker("build", *arguments, f"--tag={NAME}-labelled", str(folder))
    inspected = docker("image", "inspect", f"{NAME}-labelled").stdout
    labels = json.loads(inspected)[0]["Config"]["Labels"]
    expected = {"title": "my-service", "revision": "4f1c"}
    ours = {f"org.opencontainers.image.{name}": expected[name] for name in expected}
    assert ours.items() <= labels.items()


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
    with rendered(bake, IMAGED[DRIVERS[0]]) as folder:
        stack = Stack(folder, NAME)
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
    with rendered(bake, IMAGED[DRIVERS[0]]) as folder:
        assert not (folder / "uv.lock").exists()
    image = runtime_images(DRIVERS[0])
    version = docker("run", "--rm", image, "alembic", "--version").stdout
    assert version.split() > ["alembic", "1.18.0"]


def test_a_command_migrates_before_a_rollout(bake: Bakery) -> None:
    """With Kubernetes and no Job: as the README says, where the database is reached."""
    variant = replace(chosen("postgres", "queuepool", "psycopg"), kubernetes=True)
    server, password = f"{NAME}-server", "s3cret"
    with (
        rendered(bake, variant) as folder,
        postgres_container(server, password=password),
    ):
        example = folder / "kubernetes" / "secrets.env.example"
        secrets = example.read_text().replace("db.example.com", address(server))
        example.with_suffix("").write_text(secrets.replace("PASSWORD", password))
        docker("build", "--target=runtime", f"--tag={NAME}", str(folder))
        readme = (folder / "README.md").read_text()
        [command] = re.findall(r"^docker run .+env-file.+$", readme, re.MULTILINE)

        command = re.sub(r"registry\S+", NAME, command)
        Stack(folder, NAME).command(*command.split())

        tables = docker("exec", server, "psql", "-U", "app", "-c", r"\dt").stdout
        assert "users" in tables


ASK = """
import sys, urllib.request
request = urllib.request.Request("http://[::1]:9000/docs/", headers={
    "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "Host": "a.example",
})
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments): return None
try:
    urllib.request.build_opener(Stay).open(request, timeout=5)
except urllib.error.HTTPError as error:
    print(error.headers["location"])
"""
ENVIRONMENT = {
    "DATABASE_URL": "postgresql://app@127.0.0.1:1/app",
    "FORWARDED_ALLOW_IPS": "::1",
    "HOST": "::",
    "PORT": "9000",
    "WEB_CONCURRENCY": "2",
}


def test_where_the_image_listens_is_up_to_the_environment(
    runtime_images: Callable[[str], str],
) -> None:
    """On IPv6, in two processes; what a proxy says is believed: a redirect to HTTPS."""
    options = [f"--env={name}={value}" for name, value in ENVIRONMENT.items()]
    options.append("--sysctl=net.ipv6.conf.lo.disable_ipv6=0")
    image = runtime_images(DRIVERS[0])
    name = docker("run", "--detach", "--rm", *options, image).stdout.strip()
    try:
        wait_until(
            lambda: docker("logs", name).stderr.count("startup complete") == 2,
            "two processes",
        )
        answer = docker("exec", name, "python", "-c", ASK).stdout
        assert answer.strip() == "https://a.example/docs"
    finally:
        docker("stop", name)
