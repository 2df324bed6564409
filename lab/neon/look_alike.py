"""A Neon look-alike, and rendered services that use it.

An endpoint is a PostgreSQL server, a PgBouncer before it and a front before that, on
a Docker network of their own, with TLS, SCRAM and the host names that Neon gives them.
The front binds channels, as Neon's proxy does and PgBouncer cannot. Each service has
an endpoint of its own.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import trustme

from lab.containers import address, docker
from lab.projects import Project
from lab.servers import free_port
from lab.waiting import wait_until

FOLDER = Path(__file__).parent

ENDPOINT = "ep-quiet-river-a1b2c3d4"
REGION = "eu-central-1.aws.neon.tech"
DIRECT_HOST = f"{ENDPOINT}.{REGION}"
POOLED_HOST = f"{ENDPOINT}-pooler.{REGION}"
# PgBouncer itself, under a name that does not say so.
HIDDEN_POOLED_HOST = f"ep-hidden-river-a1b2c3d4.{REGION}"
# The front under a name that the certificate does not cover.
FOREIGN_HOST = f"{ENDPOINT}-pooler.us-east-2.aws.neon.tech"

USER = "neondb_owner"
PASSWORD = "npg_Qx7Lw2Rt9Kb"  # noqa: S105 (a throw-away one, as in neon/roles.sql)
DATABASE = "neondb"

# What the front says then, as in neon/front.py.
NO_COMPUTE = "Couldn't connect to compute node"

CA_IN_CONTAINER = "/ca.pem"
START_SECONDS = 60
TRIAL_SECONDS = 90
PROBE_INTERVAL = "500ms"
CONTACT = re.compile(r"^app=(?P<app>.*?) host=(?P<host>\S+) \w+:  (?P<text>.*)")
LOGIN = re.compile(rf" login attempt: db={DATABASE} ")


def connection_string(host: str, *, channel_binding: bool = True) -> str:
    """Return a connection string in the form that Neon's console prints."""
    binding = {"channel_binding": "require"} if channel_binding else {}
    return url(host, sslmode="require", **binding)


def url(host: str, **parameters: str) -> str:
    """Return a URL of the database with these libpq parameters."""
    query = urlencode(parameters, safe="/")
    return f"postgresql://{USER}:{PASSWORD}@{host}/{DATABASE}?{query}"


def make_certificates(folder: Path) -> None:
    """Write a throw-away CA and the certificate of every host of the region."""
    authority = trustme.CA()
    certificate = authority.issue_cert(f"*.{REGION}")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "server.pem").write_bytes(chain)
    # The containers' users are not this one.
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


@dataclass(frozen=True)
class Contact:
    """What a client did, as the server's log has it."""

    application: str
    host: str
    text: str


class Endpoint:
    """A PostgreSQL server (`compute`), and before it `pooler` and `front`."""

    def __init__(self, name: str, certificates: Path, postgres_version: str) -> None:
        """Name the Compose project and the folder of certificates."""
        self.name = name
        self.network = f"{name}_default"
        self.authority = certificates / "ca.pem"
        self.env_file = certificates.parent / f"{name}.env"
        self.env_file.write_text(
            f"TLS_FOLDER={certificates}\nPOSTGRES_VERSION={postgres_version}\n"
        )

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run `docker compose ARGUMENTS` and return its output, errors included."""
        completed = docker(
            "compose",
            *("--project-name", self.name),
            *("--file", str(FOLDER / "docker-compose.yml")),
            *("--env-file", str(self.env_file)),
            *arguments,
            check=check,
        )
        return completed.stdout + completed.stderr

    def start(self) -> None:
        """Start all, and wait until both hosts can be logged in to, as a client does."""
        self.compose("up", "--detach")
        for host in (DIRECT_HOST, POOLED_HOST):
            wait_until(partial(self.can_log_in, host), host, START_SECONDS)

    def stop(self) -> None:
        """Delete everything of this endpoint."""
        self.compose("down", "--volumes", "--timeout", "0", check=False)

    def client(self, address: str, statement: str) -> tuple[int, str]:
        """Run a statement with psql; return the exit code and the output."""
        completed = docker(
            *("exec", f"{self.name}-compute-1", "psql", "-XAt", address),
            *("-c", statement),
            check=False,
        )
        return completed.returncode, completed.stdout + completed.stderr

    def can_log_in(self, host: str) -> bool:
        """Tell whether the host takes a client that verifies its certificate."""
        address = url(host, sslmode="verify-full", sslrootcert="/tls/ca.pem")
        return self.client(address, "SELECT 1")[0] == 0

    def query(self, statement: str, database: str = DATABASE) -> str:
        """Run a statement as the superuser, past TLS; the counters leave it out."""
        address = f"postgresql://cloud_admin@/{database}"
        code, output = self.client(address, statement)
        assert code == 0, output
        return output.strip()

    def contacts(self) -> list[Contact]:
        """Return what clients did on the server so far, their leaving left out."""
        lines = docker("logs", f"{self.name}-compute-1").stderr.splitlines()
        found = [CONTACT.match(line) for line in lines]
        return [
            Contact(match["app"], match["host"], match["text"])
            for match in found
            if match
            and match["host"] != "[local]"
            and not match["text"].startswith("disconnection:")
        ]

    def pooler_logins(self) -> int:
        """Count the clients that PgBouncer has seen so far."""
        output = docker("logs", f"{self.name}-pooler-1")
        return len(LOGIN.findall(output.stdout + output.stderr))

    def pooler_address(self) -> str:
        """Return the address that the server sees PgBouncer at."""
        return address(f"{self.name}-pooler-1", self.network)

    def activity(self) -> str:
        """Return what Neon looks at before it suspends: who is active, and since when.

        https://neon.com/docs/introduction/compute-lifecycle
        """
        return self.query(
            "SELECT count(*) FILTER (WHERE state <> 'idle'), max(state_change)"
            " FROM pg_stat_activity WHERE usename <> 'cloud_admin'"
        )

    def is_quiet(self) -> bool:
        """Tell whether no client has a transaction, and the log has come to an end."""
        before = len(self.contacts())
        time.sleep(1)
        return self.activity().startswith("0|") and len(self.contacts()) == before

    def suspend(self, *servers: str) -> None:
        """End every connection of these servers, and close their ports."""
        signals = {"front": "TERM", "pooler": "QUIT", "compute": "INT"}
        for server in servers:
            self.shell(server, "touch /tmp/suspended")
            self.shell(server, f"kill -{signals[server]} $(cat /tmp/server.pid)")
        for server in servers:
            self.shell(server, "while [ -e /tmp/server.pid ]; do sleep 0.05; done")

    def resume(self, *servers: str) -> None:
        """Open the ports of these servers again, in this order."""
        hosts = {
            "compute": DIRECT_HOST,
            "pooler": HIDDEN_POOLED_HOST,
            "front": POOLED_HOST,
        }
        for server in servers:
            self.shell(server, "rm /tmp/suspended")
            ready = f"pg_isready --quiet --host={hosts[server]}"
            self.shell("compute", f"until {ready}; do sleep 0.05; done")

    @contextmanager
    def no_compute_starts(self) -> Iterator[None]:
        """End the front's connections, and let it refuse new ones while this lasts."""
        self.shell("front", "touch /tmp/broken && kill $(cat /tmp/server.pid)")
        try:
            wait_until(self.is_broken, NO_COMPUTE, START_SECONDS)
            yield
        finally:
            self.shell("front", "rm /tmp/broken")

    def is_broken(self) -> bool:
        """Tell whether the pooled host says that no compute starts."""
        return NO_COMPUTE in self.client(connection_string(POOLED_HOST), "SELECT 1")[1]

    def shell(self, server: str, command: str) -> None:
        """Run a shell command in a server's container."""
        docker("exec", f"{self.name}-{server}-1", "sh", "-c", command)


@dataclass(frozen=True)
class Trial:
    """How a container of the service fared."""

    exit_code: int
    output: str

    @property
    def status(self) -> int | None:
        """The status of the response to a request for users, if there was one."""
        found = re.search(r"^users: (\d+)$", self.output, re.MULTILINE)
        return int(found[1]) if found else None


class NeonService:
    """A rendered service with the Compose files it came with, and its endpoint."""

    def __init__(
        self, name: str, project: Project, endpoint: Endpoint, folder: Path
    ) -> None:
        """Write `.env` as `.env.example` says, and override files into `folder`.

        `name` is that of the Compose project.
        """
        assert project.variant is not None
        self.project = project
        self.variant = project.variant
        self.endpoint = endpoint
        self.slug = str(project.answers["project_slug"])
        self.name = name
        self.container = f"{name}-api-1"
        self.port = free_port()
        self.pooled_url = connection_string(POOLED_HOST)
        self.direct_url = connection_string(DIRECT_HOST)
        # What the servers had seen before the service got its first request.
        self.contacts_at_start: list[Contact] = []
        self.logins_at_start = 0
        self.write_env_file()
        self.network = self.write_override(
            folder / "network.json", {"networks": ["default", "neon"]}
        )
        self.trust = self.write_override(
            folder / "trust.json",
            {
                "environment": {"SSL_CERT_FILE": CA_IN_CONTAINER},
                "volumes": [f"{endpoint.authority}:{CA_IN_CONTAINER}:ro"],
            },
        )
        self.clock = self.write_override(
            folder / "clock.json", {"healthcheck": {"interval": PROBE_INTERVAL}}
        )

    def write_env_file(self) -> None:
        """Fill in the two URLs and the port, and leave the rest as it is."""
        text = self.project.read(".env.example")
        for line, value in {
            "NEON_POOLED_URL=": f"NEON_POOLED_URL='{self.pooled_url}'",
            "NEON_DIRECT_URL=": f"NEON_DIRECT_URL='{self.direct_url}'",
            "API_PORT=8000": f"API_PORT={self.port}",
        }.items():
            assert text.count(f"\n{line}\n") == 1, line
            text = text.replace(f"\n{line}\n", f"\n{value}\n")
        (self.project.path / ".env").write_text(text)

    def write_override(self, path: Path, addition: dict[str, object]) -> Path:
        """Write a Compose file that adds something to each of the services."""
        names = ["api", "migrate"] if self.variant.migrate_service else ["api"]
        network = {"external": True, "name": self.endpoint.network}
        path.write_text(
            json.dumps(
                {
                    "services": dict.fromkeys(names, addition),
                    "networks": {"neon": network},
                }
            )
        )
        return path

    def compose(
        self,
        *arguments: str,
        files: Sequence[Path] | None = None,
        name: str | None = None,
        check: bool = True,
        timeout: float = 600,
    ) -> Trial:
        """Run `docker compose ARGUMENTS` with the rendered file and override files.

        Without `files`, the service trusts the throw-away CA.
        """
        files = [self.network, self.trust] if files is None else files
        completed = docker(
            *("compose", "--project-directory", str(self.project.path)),
            *("--project-name", name or self.name),
            *("--file", str(self.project.path / "docker-compose.yml")),
            *(part for file in files for part in ("--file", str(file))),
            *arguments,
            check=check,
            timeout=timeout,
        )
        return Trial(completed.returncode, completed.stdout + completed.stderr)

    def start(self) -> None:
        """Build, migrate and start, with the commands of the README."""
        self.compose("build")
        contacts, logins = len(self.endpoint.contacts()), self.endpoint.pooler_logins()
        if not self.variant.migrate_service:
            self.compose("run", "--rm", "api", "alembic", "upgrade", "head")
        self.compose("up", "--build", "--detach")
        wait_until(self.is_healthy, f"{self.name} is healthy", START_SECONDS)
        self.contacts_at_start = self.endpoint.contacts()[contacts:]
        self.logins_at_start = self.endpoint.pooler_logins() - logins

    def start_with_fast_health_checks(self) -> None:
        """Start the API again, with less time between its health checks."""
        files = [self.network, self.trust, self.clock]
        self.compose("up", "--detach", "--no-deps", "api", files=files)
        wait_until(self.is_healthy, f"{self.name} is healthy", START_SECONDS)

    def stop(self) -> None:
        """Delete the containers, the network and the images."""
        self.compose(
            *("down", "--remove-orphans", "--rmi", "local", "--timeout", "0"),
            check=False,
        )

    def inspect(self, template: str) -> str:
        """Return what Docker says about the API's container."""
        return docker("inspect", "--format", template, self.container).stdout.strip()

    def is_healthy(self) -> bool:
        """Tell whether the container's own health check passes."""
        return self.inspect("{{.State.Health.Status}}") == "healthy"

    def log(self) -> str:
        """Return what the API wrote so far."""
        completed = docker("logs", self.container)
        return completed.stdout + completed.stderr

    def tracebacks(self) -> str:
        """Return what the API wrote of errors that nothing has answered."""
        found = re.findall(
            r"^Traceback.*?^\S.*?$", self.log(), re.MULTILINE | re.DOTALL
        )
        return "\n".join(found)

    def client(self) -> httpx2.Client:
        """Return an HTTP client of the API."""
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def try_out(self, *, known_authority: bool = True, **variables: str) -> Trial:
        """Serve in a new container with these variables, and ask for the users."""
        return self.run(
            ("python", "/ask.py"), known_authority=known_authority, **variables
        )

    def run(
        self,
        command: Sequence[str],
        *,
        known_authority: bool = True,
        **variables: str,
    ) -> Trial:
        """Run a command in a new container of the API, with these variables."""
        trust = [self.trust] if known_authority else []
        settings = [f"--env={name}={value}" for name, value in variables.items()]
        return self.compose(
            *("run", "--rm", "--no-deps", "--no-TTY"),
            *("--volume", f"{FOLDER / 'ask.py'}:/ask.py:ro"),
            *settings,
            "api",
            *command,
            files=[self.network, *trust],
            check=False,
            timeout=TRIAL_SECONDS,
        )

    @contextmanager
    def second_api(self, path: str) -> Iterator[str]:
        """Start another API whose health check asks for `path`; yield its container."""
        name = f"{self.name}-control"
        probe = (
            "import urllib.request as r;"
            f" r.urlopen('http://127.0.0.1:8000{path}', timeout=3)"
        )
        control = self.clock.with_name("control.yml")
        control.write_text(
            "services:\n"
            "  api:\n"
            f"    image: {self.name}-api\n"
            "    ports: !reset []\n"
            f"    healthcheck: {json.dumps({'test': ['CMD', 'python', '-c', probe]})}\n"
        )
        files = [self.network, self.trust, self.clock, control]
        up = ("up", "--detach", "--no-deps", "--no-build", "api")
        try:
            self.compose(*up, files=files, name=name)
            yield f"{name}-api-1"
        finally:
            self.compose("down", "--timeout", "0", files=files, name=name)
