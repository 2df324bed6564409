"""What fails costs no request, or few: a migration, a node, and what the manifests prevent.

One variant whose pods keep connections, on its server, as for the releases that succeed.
"""

import time

import pytest

from lab.clients import REST_SECONDS, load
from lab.copies import replace_once
from lab.kubelets import HEARD_SECONDS
from lab.prepared import chosen
from tests.kubernetes.conftest import MakeSite
from tests.kubernetes.releases import (
    CLIENTS,
    REPLICAS,
    Site,
    busy,
    line,
    three_replicas,
)

pytestmark = [pytest.mark.everything, pytest.mark.usefixtures("docker_engine")]

NODE_SECONDS = 5  # Until the cluster gives a silent node up; Kubernetes takes 50.


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """The service on a cluster of this file's."""
    variant = chosen("postgres", "queuepool", "asyncpg", migrate_service=True)
    return three_replicas(make_site(variant, "failures"))


def test_failing_migration(site: Site, report: list[str]) -> None:
    """Nothing is rolled out, and its log is shown."""
    api = site.cluster.deployments["api"]
    before = list(api.pods)
    number = site.next_migration()
    job = site.folder / "kubernetes" / "migrate.yaml"
    replace_once(job, "backoffLimit: 2", "backoffLimit: 1")
    image = site.build("failing", **{number: 'op.execute("SELECT 1/0")'})
    start = time.monotonic()
    with busy(site) as clients:
        printed = site.deploy(image, check=False)
        took = time.monotonic() - start
    report.append(line("failing migration, tried twice", clients.record, took))
    assert not clients.record.unexpected()
    assert "DivisionByZeroError" in printed
    assert "The migration failed, so nothing was rolled out: too often" in printed
    assert api.pods == before
    assert len(site.cluster.jobs["migrate"].pods) == 2
    site.remove_migration(number)


def test_node_that_vanishes(site: Site, report: list[str]) -> None:
    """Each client loses at most the request that it has there."""
    api = site.cluster.deployments["api"]
    start = time.monotonic()
    with busy(site) as clients:
        lost = api.pods[0]
        lost.vanish()
        time.sleep(NODE_SECONDS)
        api.pods.remove(lost)
        lost.remove()
        gone = time.monotonic()
        api.scale(REPLICAS)
    record = clients.record
    report.append(line("node that vanishes", record, gone - start))
    assert 0 < len(record.unexpected()) <= CLIENTS + 2
    assert not record.unexpected(since=gone + HEARD_SECONDS + REST_SECONDS)
    assert not record.contradictions


def test_requests_are_lost_without_the_sleep(site: Site) -> None:
    """The balancers hear late that a pod stops."""
    api = site.cluster.deployments["api"]
    for pod in api.pods:
        pod.container["lifecycle"]["preStop"]["sleep"]["seconds"] = 0
    with load(site.url, clients=CLIENTS, keep_alive=False) as clients:
        clients.wait_for_rounds(2)
        site.kubectl("rollout", "restart", "deployment", "api")
        clients.wait_until(lambda: bool(clients.record.unexpected()))
