"""PgBouncer in transaction mode, run from the public image, before a test's server."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.rows import dict_row

from lab.containers import docker
from lab.servers import Database, free_port

IMAGE = "edoburu/pgbouncer:v1.24.1-p1"
START_SECONDS = 30
_names = count(1)


class PgBouncer:
    """A PgBouncer that runs on a port of the loopback device."""

    def __init__(self, container: str, port: int, folder: Path) -> None:
        """Wrap a container that was started already."""
        self.container = container
        self.port = port
        self.folder = folder

    def url(self, database: Database) -> str:
        """Return the URL of a database of the server, by way of this PgBouncer."""
        return self._url(database.name)

    def _url(self, name: str) -> str:
        return f"postgresql://app:s3cret@127.0.0.1:{self.port}/{name}"

    def show(self, subject: str) -> list[dict[str, object]]:
        """Return what `SHOW subject` says on the administration console."""
        with psycopg.connect(
            self._url("pgbouncer"), autocommit=True, row_factory=dict_row
        ) as console:
            return console.execute(f"SHOW {subject}".encode()).fetchall()

    def assignments(self, database: Database) -> int:
        """Return how often a server connection was handed to a client so far."""
        return sum(
            int(str(row["total_server_assignment_count"]))
            for row in self.show("STATS")
            if row["database"] == database.name
        )

    def log(self) -> str:
        """Return what PgBouncer has logged."""
        completed = docker("logs", self.container)
        return completed.stdout + completed.stderr

    def wait_until_ready(self) -> None:
        """Wait for the console; raises RuntimeError with the log otherwise."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.show("VERSION")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise RuntimeError(self.log()) from None
                time.sleep(0.05)
            else:
                return


def configuration(server_port: int, port: int, settings: dict[str, str]) -> str:
    """Write a `pgbouncer.ini` for every database of the server on the loopback."""
    lines = [
        "[databases]",
        f"* = host=127.0.0.1 port={server_port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = scram-sha-256",
        "auth_file = /etc/pgbouncer/userlist.txt",
        "admin_users = app",
        "pool_mode = transaction",
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def pgbouncer(
    server_url: str,
    *,
    max_prepared_statements: int = 0,
    default_pool_size: int = 5,
    **settings: str,
) -> Iterator[PgBouncer]:
    """Run PgBouncer before the server at `server_url`, with `settings` on top.

    Only the URL's port counts: the server, or a proxy before it, is on the loopback
    device.
    """
    server_port = urlsplit(server_url).port or 5432
    port = free_port()
    options = {
        "default_pool_size": str(default_pool_size),
        "max_prepared_statements": str(max_prepared_statements),
        "max_client_conn": "1000",
        "query_wait_timeout": "20",
    } | settings
    container = f"pgbouncer-for-tests-{os.getpid()}-{next(_names)}"
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "pgbouncer.ini").write_text(configuration(server_port, port, options))
        (folder / "userlist.txt").write_text('"app" "s3cret"\n')
        docker(
            *("run", "--detach", "--network", "host", "--name", container),
            *("--volume", f"{folder}:/etc/pgbouncer:ro", IMAGE),
        )
        bouncer = PgBouncer(container, port, folder)
        try:
            bouncer.wait_until_ready()
            yield bouncer
        finally:
            docker("rm", "--force", container, check=False)


def moved(url: str, port: int) -> str:
    """Return `url` with another port: that of a proxy before the same server."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))
