"""What a runtime image must not hold."""

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import PurePosixPath
from typing import IO

from lab.containers import docker

APP_FILES = {".venv", "alembic", "alembic.ini", "app", "scripts"}
COMPILERS = {"as", "c++", "cc", "clang", "g++", "gcc", "ld", "make", "tcc"}
DEVELOPMENT_TOOLS = {"mypy", "pytest", "ruff", "uv", "uvx"}
CACHES = ("root/.cache/", "tmp/", "var/cache/apt/archives/", "var/lib/apt/lists/")
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"


def file_names(image: str) -> list[str]:
    """Return the path of every file in an image."""
    container = docker("create", image).stdout.strip()
    try:
        exported = subprocess.run(
            ["docker", "export", container], capture_output=True, check=True
        ).stdout
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        return [member.name for member in archive if not member.isdir()]


def layers_hold(image: str, text: bytes) -> bool:
    """Tell whether a text is in any layer of an image, removed later or not."""
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = archive_holds(process.stdout, text)
    assert process.returncode == 0
    return found


def archive_holds(saved: IO[bytes], text: bytes) -> bool:
    """Tell whether a text is in a file of an archive; some engines compress layers."""
    found = False
    with tarfile.open(fileobj=saved, mode="r|") as archive:
        for member in archive:
            if member.isfile():
                stored = archive.extractfile(member)
                assert isinstance(stored, io.BufferedReader)
                packed = stored.peek(len(GZIP)).startswith(GZIP)
                content = gzip.GzipFile(fileobj=stored) if packed else stored
                found = holds(content, text) or found
    saved.read()  # Its writer fails where nobody reads to the end.
    return found


def holds(content: io.BufferedIOBase, text: bytes) -> bool:
    """Tell whether a text is in a file."""
    end = b""
    while chunk := content.read(CHUNK):
        if text in end + chunk:
            return True
        end = chunk[-len(text) :]
    return False


def user_id(image: str) -> str:
    """Return the id of the user that an image runs as."""
    return docker("run", "--rm", "--entrypoint=id", image, "-u").stdout.strip()


def faults(image: str, base: str, secret: str) -> list[str]:
    """Return what is wrong with a runtime image that was built with `secret` nearby.

    Caches that the base image brings along are none of the project's.
    """
    names = sorted(set(file_names(image)) - set(file_names(base)))
    found = ["it runs as root"] if user_id(image) == "0" else []
    if layers_hold(image, secret.encode()):
        found.append("a layer holds the secret")
    return found + [fault for name in names if (fault := fault_of(name))]


def fault_of(name: str) -> str | None:
    """Say what is wrong with a file of a runtime image, if anything is."""
    path = PurePosixPath(name)
    if "bin" in path.parts[:-1] and path.name in COMPILERS:
        return f"compiler: {name}"
    if "bin" in path.parts[:-1] and path.name in DEVELOPMENT_TOOLS:
        return f"development tool: {name}"
    if path.name.startswith(".env"):
        return f"environment file: {name}"
    if name.startswith(CACHES) or (
        name.startswith("app/app/") and "__pycache__" in name
    ):
        return f"cache: {name}"
    if path.parts[0] == "app" and path.parts[1] not in APP_FILES:
        return f"not needed: {name}"
    return None


def size(image: str) -> int:
    """Return the size of an image in bytes."""
    inspected = json.loads(docker("image", "inspect", image).stdout)
    return int(inspected[0]["Size"])
