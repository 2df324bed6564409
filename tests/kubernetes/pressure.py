"""Every pod's pool filled at once, and what the server sees of that."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import psycopg

from lab.clients import NO_TLS, OTHERS
from lab.containers import docker
from lab.kubelets import Pod
from lab.manifests import built, named
from tests.kubernetes.releases import Site

POOL = 10  # Connections of a pod, as rendered.
SECONDS = 90
CLIENT_BACKENDS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


class Peak:
    """The most connections that a server had, which is asked all the time."""

    def __init__(self, url: str) -> None:
        """Ask the server of a database's URL; nothing of it counts."""
        self.url = url
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._over.wait(0.02):
                [(number,)] = connection.execute(CLIENT_BACKENDS).fetchall()
                self.most = max(self.most, number)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()


async def ask(pods: list[Pod], number: int, method: str, path: str) -> Counter[int]:
    """Send requests to every pod at once; return how often which status was answered."""

    async def one(client: httpx2.AsyncClient, pod: Pod, turn: int) -> int:
        body = {"name": "full", "email": f"{pod.name}.{turn}{OTHERS}"}
        url = f"http://{pod.ip}:{pod.port('http')}{path}"
        response = await client.request(method, url, json=body)
        return response.status_code

    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(
        timeout=SECONDS, limits=limits, verify=NO_TLS, trust_env=False
    ) as client:
        return Counter(
            await asyncio.gather(
                *(one(client, pod, turn) for pod in pods for turn in range(number))
            )
        )


def in_thread(pods: list[Pod], number: int) -> tuple[threading.Thread, Counter[int]]:
    """Begin to create users at every pod."""
    statuses: Counter[int] = Counter()

    def send() -> None:
        statuses.update(asyncio.run(ask(pods, number, "POST", "/users")))

    thread = threading.Thread(target=send)
    thread.start()
    return thread, statuses


def migrate_again(site: Site) -> None:
    """Run the Job once more, and wait for its end."""
    site.cluster.jobs.pop("migrate").remove()
    job = named(built(site.folder), "Job", "migrate")
    [container] = job["spec"]["template"]["spec"]["containers"]
    container["image"] = site.image("1")
    assert site.cluster.apply([job]) == []
    site.cluster.jobs["migrate"].thread.join()
    assert "Complete" in site.cluster.jobs["migrate"].conditions


def said_by_server(site: Site) -> str:
    """Return the log of the server."""
    completed = docker("logs", f"{site.slug}-postgres")
    return completed.stdout + completed.stderr


def megabytes_used(pods: list[Pod]) -> list[float]:
    """Return how much memory each pod has."""
    form = "--format={{.MemUsage}}"
    printed = docker("stats", "--no-stream", form, *(pod.name for pod in pods)).stdout
    return [float(line.partition("MiB")[0]) for line in printed.splitlines()]
