"""Kubernetes manifests of a rendered service: built, and held against each other."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from lab.commands import run

Object = Mapping[str, Any]
SECRET = "database"  # noqa: S105 (its name)


def built(project: Path) -> list[Object]:
    """Return the objects that `kubectl kustomize` builds, and the namespace."""
    printed = run(["kubectl", "kustomize", "kubernetes"], folder=project).stdout
    namespace = (project / "kubernetes" / "namespace.yaml").read_text(encoding="utf-8")
    return [*yaml.safe_load_all(printed), yaml.safe_load(namespace)]


def example_secrets(project: Path) -> dict[str, str]:
    """Return what `kubectl create secret --from-env-file` makes of the example."""
    example = project / "kubernetes" / "secrets.env.example"
    return variables(example.read_text(encoding="utf-8"))


def variables(text: str) -> dict[str, str]:
    """Return what a file of variables says: `kubectl` takes values as they are."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """Return the object of a kind that has a name."""
    [found] = [e for e in of_kind(objects, kind) if e["metadata"]["name"] == name]
    return found


def schema_faults(objects: list[Object], version: str) -> list[str]:
    """Return what a version of Kubernetes does not know, in any of the objects."""
    found = []
    for each in objects:
        try:
            kubernetes_validate.validate(dict(each), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{label(each)}: {error.message}")
    return found


def faults(objects: list[Object], secrets: Mapping[str, str]) -> list[str]:
    """Return where one object names what another does not have.

    `secrets` are the keys and values of the only Secret, which is not among the objects.
    """
    found = [
        f"{label(each)} {fault}"
        for each in objects
        for fault in CHECKS.get(each["kind"], nothing)(each, objects, secrets)
    ]
    spaces = {each["metadata"].get("namespace") for each in objects if has_space(each)}
    names = {each["metadata"]["name"] for each in of_kind(objects, "Namespace")}
    return found + ([] if spaces == names else [f"namespaces {spaces} and {names}"])


def label(each: Object) -> str:
    """Return what an object is called."""
    return f"{each['kind']} {each['metadata']['name']}"


def has_space(each: Object) -> bool:
    """Tell whether an object stands in a namespace."""
    return bool(each["kind"] != "Namespace")


def nothing(*_: object) -> Iterator[str]:
    """Find no fault."""
    yield from ()


def pods(objects: list[Object]) -> list[Object]:
    """Return the pod templates of the workloads."""
    workloads = of_kind(objects, "Deployment", "Job")
    return [each["spec"]["template"] for each in workloads]


def selects(selector: Mapping[str, str], pod: Object) -> bool:
    """Tell whether a selector matches a pod."""
    return bool(selector.items() <= pod["metadata"]["labels"].items())


def ports(pod: Object) -> set[str | int]:
    """Return the names and numbers of a pod's ports."""
    found: set[str | int] = set()
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            found |= {port["name"], port["containerPort"]}
    return found


def service_faults(
    service: Object, objects: list[Object], _: Mapping[str, str]
) -> Iterator[str]:
    """Check that a Service leads to pods, at ports that they have."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return
    chosen = [pod for pod in pods(objects) if selects(spec["selector"], pod)]
    if not chosen:
        yield f"selects nothing with {spec['selector']}"
    for port in spec["ports"]:
        if any(port["targetPort"] not in ports(pod) for pod in chosen):
            yield f"leads to no port {port['targetPort']}"


def budget_faults(
    budget: Object, objects: list[Object], _: Mapping[str, str]
) -> Iterator[str]:
    """Check that a disruption budget is about some pods."""
    selector = budget["spec"]["selector"]["matchLabels"]
    if not any(selects(selector, pod) for pod in pods(objects)):
        yield f"selects nothing with {selector}"


def scaler_faults(
    scaler: Object, objects: list[Object], _: Mapping[str, str]
) -> Iterator[str]:
    """Check that an autoscaler has a target, which leaves its replicas alone."""
    target = scaler["spec"]["scaleTargetRef"]
    workloads = of_kind(objects, target["kind"])
    chosen = [e for e in workloads if e["metadata"]["name"] == target["name"]]
    if not chosen:
        yield f"scales no {target['kind']} {target['name']}"
    if any("replicas" in each["spec"] for each in chosen):
        yield "is undone by the replicas of its target"


def workload_faults(
    workload: Object, objects: list[Object], secrets: Mapping[str, str]
) -> Iterator[str]:
    """Check a workload's selectors, and what its pod reads, mounts and probes."""
    pod = workload["spec"]["template"]
    selectors = [
        *([workload["spec"]["selector"]] if "selector" in workload["spec"] else []),
        *(
            each["labelSelector"]
            for each in pod["spec"].get("topologySpreadConstraints", [])
        ),
    ]
    for selector in selectors:
        if not selects(selector["matchLabels"], pod):
            yield f"does not select its own pods with {selector['matchLabels']}"
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    mounted: set[str] = set()
    for container in pod["spec"]["containers"]:
        yield from source_faults(references(container), objects, secrets)
        mounted |= {mount["name"] for mount in container.get("volumeMounts", [])}
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(name, {})
            action = probe.get("httpGet") or probe.get("tcpSocket")
            if action and action["port"] not in ports(pod):
                yield f"has no port {action['port']} for its {name}"
    for volume in volumes.values():
        yield from source_faults(
            volume.get("projected", {}).get("sources", []), objects, secrets
        )
    if mounted != volumes.keys():
        yield f"mounts {sorted(mounted)} of the volumes {sorted(volumes)}"


def references(container: Object) -> list[Object]:
    """Return what a container's environment comes from, as a volume names its sources."""
    found: list[Object] = [
        {"configMap": each["configMapRef"]} for each in container.get("envFrom", [])
    ]
    for variable in container.get("env", []):
        key = variable["valueFrom"]["secretKeyRef"]
        found.append({"secret": {"name": key["name"], "items": [key]}})
    return found


def source_faults(
    sources: list[Object], objects: list[Object], secrets: Mapping[str, str]
) -> Iterator[str]:
    """Check that a ConfigMap or the Secret is there, and has the keys that are read."""
    maps = {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}
    for source in sources:
        if "configMap" in source and source["configMap"]["name"] not in maps:
            yield f"reads no ConfigMap {source['configMap']['name']}"
        if "secret" in source:
            if source["secret"]["name"] != SECRET:
                yield f"reads no Secret {source['secret']['name']}"
            missing = {
                item["key"] for item in source["secret"]["items"]
            } - secrets.keys()
            if missing:
                yield f"reads no keys {sorted(missing)} of the Secret"


CHECKS = {
    "Deployment": workload_faults,
    "HorizontalPodAutoscaler": scaler_faults,
    "Job": workload_faults,
    "PodDisruptionBudget": budget_faults,
    "Service": service_faults,
}
