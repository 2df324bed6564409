"""PgBouncer's pods: restarted under load, and between as many of the API as there may be.

One variant, whose pods keep their connections to PgBouncer: those of the other pool are
closed after each request, and wait for nothing.
"""

import time

import pytest

from lab.clients import load, refuse_at_commit, told
from lab.copies import replace_once
from lab.prepared import chosen
from lab.symptoms import tables_locked
from lab.waiting import wait_until
from tests.kubernetes.conftest import MakeSite
from tests.kubernetes.pressure import (
    POOL,
    Peak,
    in_thread,
    megabytes_used,
    migrate_again,
    said_by_server,
)
from tests.kubernetes.releases import Site

pytestmark = [pytest.mark.everything, pytest.mark.usefixtures("docker_engine")]

CLIENTS = 4
# For 60 and 130: the test waits that long. Until the pod is told to stop, it sleeps 10.
RECYCLE_SECONDS, GRACE_SECONDS = 15, 30
PODS = 10 + 1 + 1  # maxReplicas, surge, and one that is being stopped.
REQUESTS = POOL + 1
BOUNCERS = 2 * 2  # Each may have clients left while the one in its place serves.
COMPUTED = BOUNCERS * 20 + 2


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """Install the service as its README says."""
    variant = chosen("pgbouncer", "queuepool", "psycopg", migrate_service=True)
    site = make_site(variant, "bouncers")
    settings = site.folder / "kubernetes" / "settings.env"
    replace_once(settings, "RECYCLE=60", f"RECYCLE={RECYCLE_SECONDS}")
    bouncer = site.folder / "kubernetes" / "pgbouncer.yaml"
    replace_once(bouncer, "PeriodSeconds: 130", f"PeriodSeconds: {GRACE_SECONDS}")
    site.install()
    return site


def test_rolling_restart(site: Site, report: list[str]) -> None:
    """Each waits until its clients have gone, and none of them loses a request.

    A connection that no request needs may stay until the PgBouncer is killed.
    """
    refuse_at_commit(site.database)
    bouncers = site.cluster.deployments["pgbouncer"]
    with load(site.url, clients=CLIENTS, keep_alive=False) as clients:
        clients.wait_for_rounds(2)
        start = time.monotonic()
        site.kubectl("rollout", "restart", "deployment", "pgbouncer")
        assert bouncers.wait()
        bouncers.settle()
        took = time.monotonic() - start
        clients.wait_for_rounds(2, since=time.monotonic())
    record = clients.record
    report.append(
        f"restart of 2 PgBouncers: {took:.1f} s, {len(record.answers)} requests,"
        f" {len(record.unexpected())} failed, slowest {record.slowest():.1f} s,"
        f" killed {[pod.killed for pod in bouncers.stopped]}"
    )
    assert len(bouncers.stopped) == 2
    assert took > RECYCLE_SECONDS
    assert not record.unexpected()
    assert not record.contradictions


def test_full(site: Site, report: list[str]) -> None:
    """The server sees what the PgBouncers may have, however many pods there are."""
    site.cluster.deployments["pgbouncer"].scale(BOUNCERS)
    api = site.cluster.deployments["api"]
    api.scale(PODS)
    peak = Peak(site.database.url)
    with peak.counted():
        with tables_locked(site.database):
            thread, statuses = in_thread(api.pods, REQUESTS)
            wait_until(lambda: peak.most > BOUNCERS * 20, "full PgBouncers")
            migrate_again(site)
        thread.join()
    memory = megabytes_used(api.pods)
    report.append(
        f"{PODS} pods and {BOUNCERS} PgBouncers: at most {peak.most - 1} connections,"
        f" {COMPUTED} computed; {told(statuses)}; {max(memory):.0f} MB a pod"
    )
    assert statuses == {201: PODS * REQUESTS}
    assert peak.most <= COMPUTED + 1  # The lock's own.
    assert "too many clients" not in said_by_server(site)
