"""As many pods as a rollout may have, all at their limits, fit the server.

One variant that connects to it directly; that behind PgBouncer has a file of its own. The
other answers change no number.
"""

import asyncio

import pytest

from lab.clients import told
from lab.prepared import chosen
from lab.symptoms import tables_locked
from lab.waiting import wait_until
from tests.kubernetes.conftest import MakeSite
from tests.kubernetes.pressure import (
    POOL,
    Peak,
    ask,
    in_thread,
    megabytes_used,
    migrate_again,
    said_by_server,
)

pytestmark = [pytest.mark.everything, pytest.mark.usefixtures("docker_engine")]

REQUESTS = POOL + 2  # For each pod: two wait for their turn.
PODS = 6 + 1 + 1  # maxReplicas, surge, and one that is being stopped.
COMPUTED = PODS * (POOL + 1) + 2  # The readiness probes' and those of the migration.


def test_direct(make_site: MakeSite, report: list[str]) -> None:
    variant = chosen("postgres", "queuepool", "psycopg", migrate_service=True)
    site = make_site(variant, "full-direct")
    site.install()
    api = site.cluster.deployments["api"]
    api.scale(PODS)
    peak = Peak(site.database.url)
    with peak.counted():
        with tables_locked(site.database):
            thread, statuses = in_thread(api.pods, REQUESTS)
            held = PODS * POOL + 1  # The lock's own.
            wait_until(lambda: peak.most >= held, "full pools")
            probes = asyncio.run(ask(api.pods, 1, "GET", "/health/db"))
            migrate_again(site)
        thread.join()
    memory = megabytes_used(api.pods)
    report.append(
        f"direct: {PODS} pods, at most {peak.most - 1} connections, {COMPUTED} computed;"
        f" {told(statuses)}; {min(memory):.0f} to {max(memory):.0f} MB a pod"
    )
    assert statuses == {201: PODS * REQUESTS}
    assert probes == {200: PODS}
    assert held < peak.most <= COMPUTED + 1
    assert "too many clients" not in said_by_server(site)
    assert "remaining connection slots" not in said_by_server(site)
