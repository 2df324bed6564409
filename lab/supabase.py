"""A Supabase look-alike: a server, and before it the two ports of its pooler.

PgBouncer plays the pooler, under the names, ports and users that Supabase gives. As
there, the transaction pooler has no prepared statements, and the pooler's user names the
project: https://supabase.com/docs/guides/database/connecting-to-postgres
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trustme

from lab.containers import docker, postgres_container
from lab.pgbouncers import IMAGE
from lab.waiting import wait_until

PROJECT = "abcdefghijklmnopqrst"
POOLER_HOST = "aws-0-eu-central-1.pooler.supabase.com"
DIRECT_HOST = f"db.{PROJECT}.supabase.co"
POOLER_USER = f"postgres.{PROJECT}"
PORTS = {"transaction": 6543, "session": 5432}
BOTH_MODES = "pgbouncer -d /conf/session.ini && exec pgbouncer /conf/transaction.ini"


def pooler_url(mode: str, password: str) -> str:
    """Return the URL of the pooler in a mode, with the password as it is."""
    login = f"{POOLER_USER}:{password}@{POOLER_HOST}"
    return f"postgresql://{login}:{PORTS[mode]}/postgres?sslmode=require"


def configuration(mode: str, password: str) -> str:
    """Write a `pgbouncer.ini` of the pooler in a mode."""
    target = f"host={DIRECT_HOST} user=postgres password='{password}'"
    lines = [
        "[databases]",
        f"postgres = {target}",
        "[pgbouncer]",
        "listen_addr = *",
        f"listen_port = {PORTS[mode]}",
        "unix_socket_dir =",
        f"pidfile = /tmp/{mode}.pid",
        f"logfile = /tmp/{mode}.log",
        "auth_type = scram-sha-256",
        "auth_file = /conf/userlist.txt",
        "client_tls_sslmode = require",
        "client_tls_cert_file = /conf/server.pem",
        "client_tls_key_file = /conf/server.key",
        f"pool_mode = {mode}",
        "max_prepared_statements = 0",
    ]
    return "\n".join(lines) + "\n"


def configure(folder: Path, password: str) -> None:
    """Write what the pooler reads; its user is another one."""
    certificate = trustme.CA().issue_cert(POOLER_HOST)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    (folder / "userlist.txt").write_text(f'"{POOLER_USER}" "{password}"\n')
    for mode in PORTS:
        (folder / f"{mode}.ini").write_text(configuration(mode, password))
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def takes(network: str, url: str) -> bool:
    """Tell whether the look-alike on a network takes a client."""
    ask = ("exec", f"{network}-pooler", "psql", url, "--command=SELECT 1")
    return docker(*ask, check=False).returncode == 0


@contextmanager
def supabase_look_alike(network: str, password: str) -> Iterator[tuple[str, str]]:
    """Run a project on a Docker network.

    Yields the URLs of the transaction pooler and of the session pooler.
    """
    server, pooler = f"{network}-server", f"{network}-pooler"
    place = (f"--network={network}", f"--network-alias={DIRECT_HOST}")
    with (
        tempfile.TemporaryDirectory() as name,
        postgres_container(server, *place, user="postgres", password=password),
    ):
        folder = Path(name)
        configure(folder, password)
        try:
            docker(
                *("run", "--detach", f"--name={pooler}", f"--network={network}"),
                *(f"--network-alias={POOLER_HOST}", f"--volume={folder}:/conf:ro"),
                *("--entrypoint=sh", IMAGE, "-c", BOTH_MODES),
            )
            urls = pooler_url("transaction", password), pooler_url("session", password)
            for url in urls:
                wait_until(partial(takes, network, url), "a Supabase look-alike")
            yield urls
        finally:
            docker("rm", "--force", pooler, check=False)
