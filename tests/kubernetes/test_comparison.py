"""compare.py says of Kubernetes what the manifests say.

Variants that hold every pair of answers, and those without Kubernetes, of which it says
nothing.
"""

import configparser
from math import ceil

import pytest

from comparison.answers import complete
from comparison.decisions import table
from lab.databases import ON_DATABASE
from lab.manifests import built, named, of_kind, variables
from lab.projects import Bakery, Project
from lab.variants import VARIANTS, Variant
from tests.comparison.comparing import compared
from tests.kubernetes.test_manifests import COVERING

pytestmark = pytest.mark.everything
RESERVED = "2 migration + 3 reserved"


def clients(project: Project, variant: Variant) -> str:
    """Return the sum of the connections that the pods have."""
    objects = built(project.path)
    spec = named(objects, "Deployment", "api")["spec"]
    replicas = named(objects, "HorizontalPodAutoscaler", "api")["spec"]["maxReplicas"]
    surge = spec["strategy"]["rollingUpdate"]["maxSurge"]
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    stopping = ceil(grace / spec["minReadySeconds"])
    settings = variables(project.read("kubernetes/settings.env"))
    limits = ("DB_MAX_CONNECTIONS", "DB_POOL_SIZE", "DB_MAX_OVERFLOW")
    pool = sum(int(settings.get(name, 0)) for name in limits)
    total = (replicas + surge + stopping) * (pool + 1)
    text = (
        f"({replicas} replicas + {surge} surge + {stopping} stopping)"
        f" x ({pool} pool + 1 readiness)"
    )
    if not variant.pooled_endpoint:
        text, total = f"{text} + {RESERVED}", total + 5
    return f"{text} = {total} of {most(variant.database)}"


def most(database: str) -> int:
    """Return how many connections a database or its pooler takes."""
    return int(ON_DATABASE[database].limit.partition(" = ")[2])


def servers(project: Project) -> str:
    """Return the sum of the connections that the PgBouncers have."""
    spec = named(built(project.path), "Deployment", "pgbouncer")["spec"]
    parser = configparser.ConfigParser()
    parser.read_string(project.read("kubernetes/pgbouncer.ini"))
    replicas, settings = spec["replicas"], parser["pgbouncer"]
    assert settings.getint("max_client_conn") == most("pgbouncer")
    size = settings.getint("default_pool_size")
    return (
        f"2 x {replicas} PgBouncers x {size} default_pool_size + {RESERVED}"
        f" = {2 * replicas * size + 5} of 100"
    )


@pytest.mark.parametrize("variant", COVERING, ids=str)
def test_table_is_what_the_manifests_say(bake: Bakery, variant: Variant) -> None:
    project = bake(variant)
    objects = built(project.path)
    pod = named(objects, "Deployment", "api")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    startup, live, ready = (
        f"GET {container[f'{name}Probe']['httpGet']['path']}"
        for name in ("startup", "liveness", "readiness")
    )
    assert startup == live
    expected = {
        "Start-up and liveness": live,
        "Readiness": ready,
        "Migrations": "a Job before each rollout"
        if of_kind(objects, "Job")
        else "by hand",
        "Connections at most": clients(project, variant),
    }
    if variant.database == "pgbouncer":
        expected["Connections of PgBouncer at most"] = servers(project)
    rows = table(complete(variant.answers))["Kubernetes"]
    assert {name: text for name, text in rows.items() if text} == expected


def test_nothing_is_said_without_kubernetes() -> None:
    for variant in VARIANTS:
        rows = table(complete(variant.answers))["Kubernetes"]
        assert set(rows.values()) == {""}


def test_preset_is_a_variant_of_these_tests() -> None:
    data = compared("production-kubernetes", "staging-pgbouncer")
    rows = {row["name"]: row for row in data["decisions"] if not row["same"]}
    assert rows["Readiness"]["a"] == "GET /health/db"
    assert rows["Readiness"]["b"] == "-"
    ids = [variant.id for variant in COVERING]
    assert "pgbouncer-queuepool-psycopg-migrate-kubernetes" in ids
