"""What stands for a Kubernetes cluster: it does with manifests what its controllers do.

Deployments are rolled out one pod at a time, a Job is tried again, a Service leads to the
ready pods. There is no scheduler, no autoscaler and no API server: `apply` is called.
"""

import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from lab.balancers import Address, Balancer
from lab.containers import address, docker, docker_network, postgres_container
from lab.kubelets import Node, Pod
from lab.listeners import listening
from lab.manifests import Object, label, schema_faults
from lab.waiting import wait_until

BACKOFF_SECONDS = 1.0  # Kubernetes waits 10 before it tries a Job again.
SCHEMAS = "1.37"


class Deployment:
    """A Deployment: its pods, and the templates that it has had."""

    def __init__(self, name: str, node: Node) -> None:
        """Begin without pods."""
        self.name = name
        self.node = node
        self.spec: Object = {}
        self.replicas = 0
        self.pods: list[Pod] = []
        self.stopped: list[Pod] = []
        self.history: list[Object] = []
        self.progress_seconds = 600.0  # progressDeadlineSeconds
        self.complete = True
        self._thread: threading.Thread | None = None

    def apply(self, spec: Object, replicas: int) -> None:
        """Take a specification, and roll out its template if that is new."""
        self.spec, self.replicas = spec, self.replicas or replicas
        if not self.history or spec["template"] != self.history[-1]:
            self.roll_out(spec["template"])

    def undo(self) -> None:
        """Go back to the template before this one."""
        self.roll_out(self.history[-2])

    def restart(self) -> None:
        """Replace every pod by one of the same template."""
        metadata = self.history[-1]["metadata"]
        annotations = {"kubectl.kubernetes.io/restartedAt": str(time.monotonic())}
        metadata = {**metadata, "annotations": annotations}
        self.roll_out({**self.history[-1], "metadata": metadata})

    def scale(self, replicas: int) -> None:
        """Start pods until there are so many, and wait until they are ready."""
        self.replicas = replicas
        new = [self._start() for _ in range(replicas - len(self.pods))]
        self.pods += new
        wait_until(lambda: all(pod.ready for pod in new), f"{replicas} {self.name}")

    def roll_out(self, template: Object) -> None:
        """Begin to replace the pods of other templates."""
        self.history.append(template)
        if self._thread is not None:
            self._thread.join()
        self.complete = False
        self._thread = threading.Thread(target=self._roll_out, daemon=True)
        self._thread.start()

    def wait(self) -> bool:
        """Wait for the rollout; return whether it came to its end."""
        assert self._thread is not None
        self._thread.join()
        return self.complete

    def settle(self) -> None:
        """Wait until the pods that were told to stop have stopped."""
        for pod in self.stopped:
            pod.join()

    def _roll_out(self) -> None:
        strategy = self.spec["strategy"]["rollingUpdate"]
        assert strategy["maxUnavailable"] == 0
        template = self.history[-1]
        new = [pod for pod in self.pods if pod.template == template]
        old = [pod for pod in self.pods if pod not in new]
        for pod in [pod for pod in old if not pod.ready]:
            old.remove(pod)
            self._stop(pod)
        while len(new) < self.replicas:
            room = self.replicas + strategy["maxSurge"] - len(old) - len(new)
            started = [
                self._start() for _ in range(min(room, self.replicas - len(new)))
            ]
            self.pods += started
            new += started
            if not self._wait_until_available(new):
                return
            while old and len(old) + len(new) > self.replicas:
                self._stop(old.pop(0))
        self.complete = True

    def _wait_until_available(self, pods: list[Pod]) -> bool:
        needed = self.spec.get("minReadySeconds", 0)
        deadline = time.monotonic() + self.progress_seconds
        while not all(pod.ready_for() >= needed for pod in pods):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _start(self) -> Pod:
        pod = Pod(self.name, self.history[-1], self.node)
        pod.start()
        pod.watch()
        return pod

    def _stop(self, pod: Pod) -> None:
        self.pods.remove(pod)
        self.stopped.append(pod)
        pod.stop()


class Job:
    """A Job, which has begun."""

    def __init__(self, name: str, spec: Object, node: Node) -> None:
        """Run its pod, and again if that fails."""
        self.name = name
        self.spec = spec
        self.node = node
        self.conditions: list[str] = []
        self.pods: list[Pod] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for _ in range(self.spec["backoffLimit"] + 1):
            pod = Pod(self.name, self.spec["template"], self.node)
            self.pods.append(pod)
            pod.start()
            if pod.wait() == 0:
                self.conditions = ["SuccessCriteriaMet", "Complete"]
                return
            time.sleep(BACKOFF_SECONDS)
        self.conditions = ["FailureTarget", "Failed"]

    def remove(self) -> None:
        """Remove the job and its pods, once they have ended."""
        self.thread.join()
        for pod in self.pods:
            pod.remove()


class Cluster:
    """Deployments, Jobs and Services on one network of the Docker engine."""

    def __init__(self, node: Node, gateway: str, cleanup: ExitStack) -> None:
        """Use a network; `gateway` is this machine's address there."""
        self.node = node
        self.gateway = gateway
        self.namespace: str | None = None
        self.deployments: dict[str, Deployment] = {}
        self.jobs: dict[str, Job] = {}
        self.balancers: dict[str, Balancer] = {}
        self.replicas: dict[str, int] = {}
        self._cleanup = cleanup

    def apply(self, objects: Sequence[Object]) -> list[str]:
        """Do what the controllers do with objects; return what is wrong with them.

        Their order is that of `kubectl apply`: what pods read comes before the pods.
        """
        if found := schema_faults(list(objects), SCHEMAS):
            return found
        for kind, action in self._actions().items():
            for each in objects:
                if each["kind"] == kind:
                    if not self._is_in_namespace(each):
                        return [f"{label(each)}: no such namespace"]
                    action(each["metadata"]["name"], each)
        return []

    def _actions(self) -> dict[str, Callable[[str, Object], Any]]:
        return {
            "Namespace": self._apply_namespace,
            "ConfigMap": self._apply_map,
            "Secret": self._apply_secret,
            "Service": self._apply_service,
            "PodDisruptionBudget": lambda *_: None,
            "HorizontalPodAutoscaler": self._apply_scaler,
            "Deployment": self._apply_deployment,
            "Job": self._apply_job,
        }

    def _is_in_namespace(self, each: Object) -> bool:
        if each["kind"] == "Namespace":
            return True
        return bool(each["metadata"]["namespace"] == self.namespace)

    def _apply_namespace(self, name: str, _: Object) -> None:
        self.namespace = name

    def _apply_map(self, name: str, each: Object) -> None:
        self.node.maps[name] = each["data"]

    def _apply_secret(self, name: str, each: Object) -> None:
        self.node.secrets[name] = {
            key: b64decode(value).decode() for key, value in each["data"].items()
        }

    def _apply_scaler(self, _: str, each: Object) -> None:
        target = each["spec"]["scaleTargetRef"]["name"]
        self.replicas[target] = each["spec"]["minReplicas"]

    def _apply_deployment(self, name: str, each: Object) -> None:
        deployment = self.deployments.setdefault(name, Deployment(name, self.node))
        replicas = each["spec"].get("replicas", self.replicas.get(name, 1))
        deployment.apply(each["spec"], replicas)

    def _apply_job(self, name: str, each: Object) -> None:
        if name not in self.jobs:
            self.jobs[name] = Job(name, each["spec"], self.node)
        assert self.jobs[name].spec == each["spec"], "a Job cannot be changed"

    def _apply_service(self, name: str, each: Object) -> None:
        spec = each["spec"]
        if spec.get("type") == "ExternalName":
            self.node.hosts[name] = self.node.hosts[spec["externalName"]]
        elif name not in self.balancers:
            [port] = spec["ports"]
            balancer = Balancer(
                (self.gateway, port["port"]),
                lambda: self.endpoints(spec["selector"], port["targetPort"]),
            )
            self._cleanup.enter_context(listening(balancer))
            self.balancers[name] = balancer
            self.node.hosts[name] = self.gateway

    def endpoints(self, selector: Object, port: str) -> list[Address]:
        """Return where the ready pods are that a Service selects."""
        return [
            (pod.ip, pod.port(port))
            for deployment in list(self.deployments.values())
            for pod in [*deployment.pods, *deployment.stopped]
            if selector.items() <= pod.template["metadata"]["labels"].items()
            and pod.heard_ready()
        ]

    def url(self, service: str) -> str:
        """Return the URL of a Service that speaks HTTP."""
        return f"http://{self.gateway}:{self.balancers[service].port}"

    def remove(self) -> None:
        """Remove every pod."""
        for deployment in self.deployments.values():
            for pod in [*deployment.pods, *deployment.stopped]:
                pod.remove()
        for job in self.jobs.values():
            job.remove()


@contextmanager
def cluster(name: str) -> Iterator[Cluster]:
    """Run a cluster on a network of a name."""
    with ExitStack() as cleanup:
        cleanup.enter_context(docker_network(name))
        form = "{{(index .IPAM.Config 0).Gateway}}"
        gateway = docker("network", "inspect", f"--format={form}", name).stdout.strip()
        running = Cluster(Node(name), gateway, cleanup)
        cleanup.callback(running.remove)
        yield running


@contextmanager
def postgres(network: str, version: str) -> Iterator[str]:
    """Run a server on a network that is there; yield its address on it."""
    name = f"{network}-postgres"
    place = f"--network={network}"
    password = "s3cret"  # noqa: S105 (of this container)
    with postgres_container(name, place, version=version, password=password):
        yield address(name, network)
