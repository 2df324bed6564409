"""The manifests are what Kubernetes takes, and name nothing that is not there.

Variants that hold every pair of database, pool, driver and migrate service: no file is the
business of more.
"""

import configparser
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from lab.copies import replace_once, working_copy
from lab.linters import (
    MANIFEST_EXCEPTIONS,
    checks_failed_by_manifests,
    faults_of_workflows,
)
from lab.manifests import (
    Object,
    built,
    example_secrets,
    faults,
    named,
    of_kind,
    pods,
    schema_faults,
)
from lab.pairs import covering_variants
from lab.projects import Bakery, render
from lab.variants import VARIANTS, Variant
from tests.rendering import checks

OLDEST, NEWEST = "1.30", "1.37"  # The README names the first.
QUESTIONS = ("database", "pool", "driver", "migrate_service")
# The preset production-kubernetes.
SERVICE = replace(
    VARIANTS[0],
    database="pgbouncer",
    pool="queuepool",
    driver="psycopg",
    migrate_service=True,
    kubernetes=True,
)
COVERING = [
    replace(variant, kubernetes=True)
    for variant in covering_variants(VARIANTS, QUESTIONS)
] + [SERVICE]


@pytest.fixture(params=COVERING, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Run the test for variants that have manifests."""
    chosen: Variant = request.param
    return chosen


@pytest.fixture(scope="module")
def objects_of(bake: Bakery) -> Callable[[Variant], list[Object]]:
    """Return the objects of a variant, built once."""
    cache: dict[Variant, list[Object]] = {}

    def of(variant: Variant) -> list[Object]:
        if variant not in cache:
            cache[variant] = built(bake(variant).path)
        return cache[variant]

    return of


@pytest.fixture
def objects(
    objects_of: Callable[[Variant], list[Object]], variant: Variant
) -> list[Object]:
    """Return the objects of the variant."""
    return objects_of(variant)


def kinds(objects: list[Object]) -> list[str]:
    return sorted(f"{each['kind']} {each['metadata']['name']}" for each in objects)


# Every pair of answers


def test_objects(objects: list[Object], variant: Variant) -> None:
    found = [re.sub(r"-[a-z0-9]{10}$", "", name) for name in kinds(objects)]
    expected = [
        "ConfigMap settings",
        "Deployment api",
        "HorizontalPodAutoscaler api",
        "Namespace my-service",
        "PodDisruptionBudget api",
        "Service api",
    ]
    if variant.migrate_service:
        expected.append("Job migrate")
    if variant.database == "pgbouncer":
        expected += [
            "ConfigMap pgbouncer",
            "Deployment pgbouncer",
            "PodDisruptionBudget pgbouncer",
            "Service db",
            "Service pgbouncer",
        ]
    assert found == sorted(expected)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_knows_every_field(
    objects_of: Callable[[Variant], list[Object]], version: str
) -> None:
    """Of every object that differs from one variant to the next."""
    every = {str(each): each for variant in COVERING for each in objects_of(variant)}
    assert schema_faults(list(every.values()), version) == []


def test_readme_names_the_oldest_version(bake: Bakery, variant: Variant) -> None:
    assert f"Kubernetes {OLDEST} or newer" in bake(variant).read("README.md")


def test_objects_fit_together(
    bake: Bakery, objects: list[Object], variant: Variant
) -> None:
    assert faults(objects, example_secrets(bake(variant).path)) == []


def test_files_are_sound(bake: Bakery, variant: Variant) -> None:
    project = bake(variant)
    mine = [
        name for name in project.files() if "kubernetes" in name or "deploy" in name
    ]
    assert len(mine) > 6
    allowed = {".github/workflows/kubernetes.yml": ["{{", "}}"]}
    found = [
        problem
        for name in mine
        for problem in (
            *checks.whitespace(name, project.read(name).encode()),
            *checks.unrendered(name, project.read(name), allowed.get(name, ())),
        )
    ]
    assert found == []


def test_only_the_job_has_the_direct_url(
    objects: list[Object], variant: Variant
) -> None:
    readers = {
        each["metadata"]["name"]: variables(each["spec"]["template"])
        for each in of_kind(objects, "Deployment", "Job")
    }
    direct = "DATABASE_URL_DIRECT" if variant.pooled_endpoint else "DATABASE_URL"
    expected = {"api": ["DATABASE_URL"]}
    if variant.migrate_service:
        expected["migrate"] = [direct]
    if variant.database == "pgbouncer":
        expected["pgbouncer"] = []
    assert readers == expected


def variables(pod: Object) -> list[str]:
    return [
        each["name"]
        for container in pod["spec"]["containers"]
        for each in container.get("env", [])
    ]


def test_pods_are_restricted(objects: list[Object]) -> None:
    """As the profile "restricted" wants them, and with nothing to write to but /tmp."""
    for pod in pods(objects):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert set(container["resources"]) == {"requests", "limits"}
            assert set(container["resources"]["limits"]) == {"memory"}
        empty = [volume for volume in spec["volumes"] if "emptyDir" in volume]
        memory = {"medium": "Memory", "sizeLimit": "16Mi"}
        assert empty == [{"name": "tmp", "emptyDir": memory}]


def test_readiness_lets_a_compute_sleep(
    objects: list[Object], variant: Variant
) -> None:
    spec = named(objects, "Deployment", "api")["spec"]["template"]["spec"]
    [api] = spec["containers"]
    paths = [
        api[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    ]
    ready = "/health/live" if variant.database == "neon" else "/health/db"
    assert paths == ["/health/live", "/health/live", ready]


def test_pods_have_time_to_stop(
    bake: Bakery, objects: list[Object], variant: Variant
) -> None:
    spec = named(objects, "Deployment", "api")["spec"]
    pod = spec["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    match = re.search(
        r"--timeout-graceful-shutdown (\d+)", bake(variant).read("Dockerfile")
    )
    assert match
    assert sleep + int(match[1]) < pod["terminationGracePeriodSeconds"]
    assert spec["minReadySeconds"] >= pod["terminationGracePeriodSeconds"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_no_password_is_in_the_project(objects: list[Object]) -> None:
    assert "Secret" not in {each["kind"] for each in objects}
    assert "postgresql://" not in str(objects)


def test_names_lead_to_services(bake: Bakery) -> None:
    """The example's URL leads to PgBouncer, and its configuration to the server."""
    project = bake(SERVICE)
    objects = built(project.path)
    url = urlsplit(example_secrets(project.path)["DATABASE_URL"])
    [port] = named(objects, "Service", str(url.hostname))["spec"]["ports"]
    assert url.port == port["port"]
    ini = configparser.ConfigParser()
    ini.read_string(project.read("kubernetes/pgbouncer.ini"))
    assert (
        f"host={named(objects, 'Service', 'db')['metadata']['name']} "
        in (ini["databases"]["app"])
    )
    [bouncer] = named(objects, "Deployment", "pgbouncer")["spec"]["template"]["spec"][
        "containers"
    ]
    assert bouncer["ports"][0]["containerPort"] == ini["pgbouncer"].getint(
        "listen_port"
    )


def test_image_and_ini_are_those_of_compose(bake: Bakery) -> None:
    project = bake(SERVICE)
    [image] = re.findall(r"image: (edoburu\S+)", project.read("docker-compose.yml"))
    assert f"image: {image}\n" in project.read("kubernetes/pgbouncer.yaml")
    plain = bake(replace(SERVICE, kubernetes=False))
    assert project.read("kubernetes/pgbouncer.ini") == plain.read("pgbouncer.ini")
    assert "./kubernetes/pgbouncer.ini:/etc" in project.read("docker-compose.yml")


def test_slug_becomes_a_name_of_kubernetes(bake: Bakery) -> None:
    project = bake(SERVICE, project_slug="my_own_service")
    objects = built(project.path)
    spaces = {each["metadata"].get("namespace") for each in objects}
    assert spaces == {"my-own-service", None}
    assert faults(objects, example_secrets(project.path)) == []
    assert "my_own_service" not in str(
        [each for each in objects if each["kind"] not in ("Deployment", "Job")]
    )


def test_workflows_are_clean(bake: Bakery) -> None:
    assert faults_of_workflows(bake(SERVICE).path) == ""


@pytest.mark.everything
def test_linter_finds_what_is_meant(bake: Bakery, tmp_path: Path) -> None:
    """And what is not, where a pod may write to its root."""
    objects = built(bake(SERVICE).path)
    good = yaml.safe_dump_all(objects)
    bad = good.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    (tmp_path / "good.yaml").write_text(good)
    (tmp_path / "bad.yaml").write_text(bad)
    assert checks_failed_by_manifests(tmp_path) == {
        "good.yaml": MANIFEST_EXCEPTIONS.keys(),
        "bad.yaml": {*MANIFEST_EXCEPTIONS, "CKV_K8S_22"},
    }


def test_default_has_nothing_of_it(bake: Bakery) -> None:
    project = bake()
    assert not (project.path / "kubernetes").exists()
    assert not [name for name in project.files() if "kubernetes" in name]


def test_folder_with_files_of_a_person_stays(bake: Bakery, tmp_path: Path) -> None:
    """Also where the project is rendered again without Kubernetes."""
    shutil.copytree(bake(SERVICE).path, tmp_path / "my-service")
    secrets = tmp_path / "my-service" / "kubernetes" / "secrets.env"
    secrets.write_text("DATABASE_URL=postgresql://app:s3cret@db/app\n")
    answers = replace(SERVICE, kubernetes=False).answers
    render(tmp_path, no_input=True, extra_context=answers, overwrite_if_exists=True)
    assert "s3cret" in secrets.read_text()


# What the checks must see: a file, what is broken in it, and what is said


API, JOB, BOUNCER = "api.yaml", "migrate.yaml", "pgbouncer.yaml"
BREAKS = {
    "service-selects-nothing": (
        API,
        "  selector:\n    app.kubernetes.io/name: api\n",
        "  selector:\n    app.kubernetes.io/name: apis\n",
        "Service api selects nothing",
    ),
    "service-without-port": (API, "targetPort: http", "targetPort: web", "no port web"),
    "probe-without-port": (
        BOUNCER,
        "          livenessProbe:\n            tcpSocket:\n              port: postgres",
        "          livenessProbe:\n            tcpSocket:\n              port: pg",
        "has no port pg for its livenessProbe",
    ),
    "no-such-key": (JOB, "key: DATABASE_URL_DIRECT", "key: DIRECT", "['DIRECT']"),
    "no-such-secret": (JOB, "name: database\n", "name: secrets\n", "Secret secrets"),
    "no-such-file-key": (BOUNCER, "key: USERLIST", "key: USERS", "['USERS']"),
    "no-such-map": (
        API,
        "                name: settings",
        "                name: config",
        "ConfigMap config",
    ),
    "no-such-target": (
        API,
        "    name: api\n  minReplicas",
        "    name: app\n  minReplicas",
        "scales no",
    ),
    "replicas-beside-the-scaler": (
        API,
        "  minReadySeconds",
        "  replicas: 1\n  minReadySeconds",
        "is undone",
    ),
    "budget-of-nothing": (
        BOUNCER,
        "  maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: pgbouncer",
        "  maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: bouncer",
        "PodDisruptionBudget pgbouncer selects nothing",
    ),
    "not-mounted": (
        API,
        "mountPath: /tmp",
        "mountPath: /tmp\n            - name: cache\n              mountPath: /c",
        "mounts",
    ),
    "other-namespace": (
        "namespace.yaml",
        "name: my-service",
        "name: services",
        "namespaces",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_reference_is_found(bake: Bakery, name: str, tmp_path: Path) -> None:
    file, old, new, said = BREAKS[name]
    path = working_copy(bake(SERVICE), tmp_path)
    replace_once(path / "kubernetes" / file, old, new)
    [fault] = faults(built(path), example_secrets(path))
    assert said in fault


def test_schemas_see_no_broken_reference(bake: Bakery, tmp_path: Path) -> None:
    path = working_copy(bake(SERVICE), tmp_path)
    for file, old, new, _ in BREAKS.values():
        replace_once(path / "kubernetes" / file, old, new)
    assert schema_faults(built(path), NEWEST) == []


def test_unknown_field_is_found(bake: Bakery, tmp_path: Path) -> None:
    path = working_copy(bake(SERVICE), tmp_path)
    replace_once(path / "kubernetes" / API, "minReadySeconds", "minReadySecond")
    assert len(schema_faults(built(path), OLDEST)) == 1
