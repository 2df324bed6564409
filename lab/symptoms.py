"""The symptoms of wrong connection settings, each reproduced on real servers."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit

import httpx2
import psycopg
import trustme

from lab.containers import docker
from lab.copies import replace_once, working_copy
from lab.migrations import migrate
from lab.pgbouncers import IMAGE as BOUNCER_IMAGE
from lab.pgbouncers import PgBouncer, configuration, pgbouncer
from lab.prepared import chosen, copy_database
from lab.projects import Bakery, Project
from lab.servers import Database, OwnServer, free_port, own_server
from lab.services import RunningService, ServiceEnvironment, running_service
from lab.variants import Variant
from lab.waiting import wait_until

MAX_CONNECTIONS = 60
CLIENTS = 90  # More than the server takes, and than a pool of 15 does.
WAIT_SECONDS = 30
POSTGRES_IMAGE = "postgres:17"
LOCK_WAITERS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)

_names = count(1)

# The engine of a service, used as its sessions use it: two connections in turn.
SAME_STATEMENT_TWICE = """
import asyncio
from sqlalchemy import text
from app.core.database import engine

async def main():
    async with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            for _ in range(8):
                await connection.execute(text("SELECT id, name FROM users"))
                await connection.commit()
asyncio.run(main())
print("done")
"""
COLUMN_CHANGES = """
import asyncio
from sqlalchemy import text
from app.core.database import engine

async def main():
    async with engine.connect() as first, engine.connect() as second:
        for _ in range(8):
            await first.execute(text("SELECT id, name FROM users"))
            await first.commit()
        await second.execute(text("ALTER TABLE users ALTER id TYPE integer"))
        await second.commit()
        await first.execute(text("SELECT id, name FROM users"))
        await first.commit()
asyncio.run(main())
print("done")
"""


@dataclass
class Laboratory:
    """Servers, and services that use them in right and in wrong ways."""

    folder: Path
    bake: Bakery
    environments: Callable[[str], ServiceEnvironment]
    server: OwnServer
    template: Database
    bouncers: dict[str, PgBouncer]
    tls_port: int
    tls_bouncer_port: int
    counts: Counter[str] = field(default_factory=Counter)

    def fresh_database(self) -> Database:
        """Create a database with the service's tables."""
        return copy_database(self.server, self.template)

    def url(self, variant: Variant, database: Database, bouncer: str = "roomy") -> str:
        """Return the URL that a service is given: of the server, or of a pooler."""
        if variant.pooled_endpoint:
            return self.bouncers[bouncer].url(database)
        return database.url

    def project(self, variant: Variant, *changes: tuple[str, str, str]) -> Path:
        """Return a project; `changes` of its files are made in a copy."""
        project = self.bake(variant)
        if not changes:
            return project.path
        copy = self.copy(project)
        for file, old, new in changes:
            replace_once(copy / file, old, new)
        return copy

    def copy(self, project: Project) -> Path:
        """Copy a project, to change the copy."""
        return working_copy(project, Path(mkdtemp(dir=self.folder)))

    @contextmanager
    def service(
        self,
        variant: Variant,
        url: str,
        *changes: tuple[str, str, str],
        **variables: str,
    ) -> Iterator[RunningService]:
        """Serve a project on the database at `url`."""
        project = self.project(variant, *changes)
        self.counts["services"] += 1
        log = self.folder / f"service-{next(_names)}.log"
        environment = self.environments(variant.driver)
        with running_service(
            environment, project, log, DATABASE_URL=url, **variables
        ) as running:
            yield running

    def run(
        self,
        variant: Variant,
        command: list[str],
        *changes: tuple[str, str, str],
        **variables: str,
    ) -> str:
        """Run `python -m COMMAND` in a project and return its output."""
        project = self.project(variant, *changes)
        self.counts["commands"] += 1
        environment = self.environments(variant.driver)
        done = environment.run(project, *command, check=False, timeout=300, **variables)
        return done.stdout + done.stderr

    def alembic(self, variant: Variant, command: str, url: str) -> str:
        """Run an Alembic command on the database at `url` and return its output."""
        name = "DATABASE_URL_DIRECT" if variant.pooled_endpoint else "DATABASE_URL"
        return self.run(variant, ["alembic", *command.split()], **{name: url})

    def script(
        self, text: str, variant: Variant, url: str, *changes: tuple[str, str, str]
    ) -> str:
        """Run a script that uses a project's engine; return its output."""
        name = f"script_{next(_names)}"
        scripts = self.folder / "scripts"
        scripts.mkdir(exist_ok=True)
        (scripts / f"{name}.py").write_text(text)
        return self.run(
            variant, [name], *changes, DATABASE_URL=url, PYTHONPATH=str(scripts)
        )


def statuses(url: str, clients: int = 1) -> Counter[int]:
    """Ask for the users, many at the same time, and count the statuses."""

    async def ask() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(timeout=90, limits=limits) as client:
            asking = (client.get(f"{url}/users") for _ in range(clients))
            return await asyncio.gather(*asking)

    return Counter(answer.status_code for answer in asyncio.run(ask()))


def log_of(service: RunningService) -> str:
    """Return what a service has logged."""
    return service.log.read_text(errors="replace")


@contextmanager
def tables_locked(database: Database) -> Iterator[psycopg.Connection]:
    """Keep every reader of the users waiting while the block runs."""
    with psycopg.connect(database.url) as connection:
        connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        yield connection
        connection.rollback()


def plain_role(server: OwnServer, database: Database) -> str:
    """Create a role without rights of a superuser; return its URL."""
    name = f"plain{next(_names)}"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 's3cret'")
    database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    assert urlsplit(server.url).username == "app"
    return database.url.replace("//app:", f"//{name}:")


def make_certificate(folder: Path) -> None:
    """Write a throw-away certificate of this machine, for users of containers."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (folder / "server.pem").write_bytes(chain)


@contextmanager
def container(
    image: str, *arguments: str, command: tuple[str, ...] = ()
) -> Iterator[str]:
    """Run a container until the block ends."""
    name = f"troubleshooting-{os.getpid()}-{next(_names)}"
    docker("run", "--detach", "--name", name, *arguments, image, *command)
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def answers(port: int) -> bool:
    """Tell whether a server takes a client that uses TLS."""
    url = f"postgresql://app:s3cret@127.0.0.1:{port}/app?sslmode=require"
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """Run a PostgreSQL that takes clients with TLS alone; return its port."""
    port = free_port()
    rules = "local all all trust\nhostssl all all all scram-sha-256\n"
    (folder / "pg_hba.conf").write_text(rules)
    (folder / "start.sh").write_text(
        "cp /tls/server.key /tls/server.pem /tmp/\n"
        "chown postgres /tmp/server.key\n"
        "chmod 600 /tmp/server.key\n"
        'exec docker-entrypoint.sh "$@"\n'
    )
    options = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "ssl": "on",
        "ssl_cert_file": "/tmp/server.pem",  # noqa: S108 (in the container)
        "ssl_key_file": "/tmp/server.key",  # noqa: S108
        "hba_file": "/tls/pg_hba.conf",
    }
    settings = [
        text for name, value in options.items() for text in ("-c", f"{name}={value}")
    ]
    with container(
        POSTGRES_IMAGE,
        *("--network", "host", "--volume", f"{folder}:/tls:ro"),
        *("--env", "POSTGRES_USER=app", "--env", "POSTGRES_PASSWORD=s3cret"),
        *("--entrypoint", "sh"),
        command=("/tls/start.sh", "postgres", *settings),
    ):
        wait_until(lambda: answers(port), "the server with TLS")
        yield port


@contextmanager
def tls_bouncer(folder: Path, server_port: int) -> Iterator[int]:
    """Run a PgBouncer that takes clients with TLS alone; return its port."""
    port = free_port()
    settings = {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": "/etc/pgbouncer/server.pem",
        "client_tls_key_file": "/etc/pgbouncer/server.key",
        "server_tls_sslmode": "require",
    }
    (folder / "pgbouncer.ini").write_text(configuration(server_port, port, settings))
    (folder / "userlist.txt").write_text('"app" "s3cret"\n')
    with container(
        BOUNCER_IMAGE,
        *("--network", "host", "--volume", f"{folder}:/etc/pgbouncer:ro"),
    ):
        wait_until(lambda: answers(port), "PgBouncer with TLS")
        yield port


@contextmanager
def laboratory(
    folder: Path, bake: Bakery, environments: Callable[[str], ServiceEnvironment]
) -> Iterator[Laboratory]:
    """Run every server that the symptoms need."""
    secrets = folder / "tls"
    secrets.mkdir()
    make_certificate(secrets)
    for path in (folder, secrets, *secrets.iterdir()):
        # The containers' users are not this one.
        path.chmod(0o755 if path.is_dir() else 0o644)
    with ExitStack() as stack:
        server = stack.enter_context(own_server(max_connections=str(MAX_CONNECTIONS)))
        settings: dict[str, dict[str, str]] = {
            "forgets": {"max_prepared_statements": "0", "default_pool_size": "1"},
            "follows": {"max_prepared_statements": "200", "default_pool_size": "1"},
            "pair": {"max_prepared_statements": "0", "default_pool_size": "2"},
            "roomy": {"max_prepared_statements": "200", "server_idle_timeout": "5"},
            "narrow": {"max_client_conn": "5"},
        }
        bouncers = {
            name: stack.enter_context(pgbouncer(server.url, **chosen_settings))  # type: ignore[arg-type]
            for name, chosen_settings in settings.items()
        }
        tls_port = stack.enter_context(tls_server(secrets))
        bouncer_port = stack.enter_context(tls_bouncer(secrets, tls_port))
        template = server.create_database()
        project = bake(chosen("postgres", "queuepool", "asyncpg"))
        migrate(project.path, environments("asyncpg"), template)
        yield Laboratory(
            folder,
            bake,
            environments,
            server,
            template,
            bouncers,
            tls_port,
            bouncer_port,
        )
    shutil.rmtree(folder, ignore_errors=True)
