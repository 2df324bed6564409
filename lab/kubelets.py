"""A pod on the Docker engine, treated as the kubelet treats it.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import Any

from lab.containers import address, docker
from lab.manifests import Object
from lab.waiting import PAUSE_SECONDS

HEARD_SECONDS = 2.0  # Until the balancers hear that a pod is no longer ready.
RESTART_SECONDS = 3.0  # The kubelet waits 10 at first.
DEFAULTS = {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}
DEFAULT_GRACE = 30
_numbers = count(1)


@dataclass
class Node:
    """Where pods run: a network, the names that it knows, and what pods read."""

    network: str
    hosts: dict[str, str] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)

    def environment(self, container: Object) -> dict[str, str]:
        """Return a container's variables, from ConfigMaps and Secrets."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= self.maps[source["configMapRef"]["name"]]
        for variable in container.get("env", []):
            key = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = self.secrets[key["name"]][key["key"]]
        return found

    def files(self, volume: Object) -> dict[str, str]:
        """Return the files of a projected volume."""
        found: dict[str, str] = {}
        for source in volume["projected"]["sources"]:
            if "configMap" in source:
                found |= self.maps[source["configMap"]["name"]]
            else:
                values = self.secrets[source["secret"]["name"]]
                items = source["secret"]["items"]
                found |= {item["path"]: values[item["key"]] + "\n" for item in items}
        return found


class Pod:
    """A pod of one container, from its template."""

    def __init__(self, owner: str, template: Object, node: Node) -> None:
        """Name the pod after its owner; `start` runs it."""
        self.owner = owner
        self.template = template
        self.spec = template["spec"]
        [self.container] = self.spec["containers"]
        self.node = node
        self.name = f"{node.network}-{owner}-{next(_numbers)}"
        self.ip = ""
        self.ready = False
        self.changed = 0.0  # When it became ready, or no longer so.
        self.stopping = False
        self.restarts = 0
        self.killed = False
        self.exit_code: int | None = None
        self.log = ""
        self._folder = tempfile.TemporaryDirectory(prefix="pod-")
        self._threads: list[threading.Thread] = []

    @property
    def grace(self) -> float:
        """The seconds that the pod may take to stop."""
        return float(self.spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE))

    def port(self, name: str) -> int:
        """Return the number of a port."""
        ports = {
            each["name"]: each["containerPort"] for each in self.container["ports"]
        }
        return int(ports[name])

    def heard_ready(self) -> bool:
        """Tell whether the balancers take it for ready: they hear late of its end."""
        return self.ready or (
            self.changed > 0 and time.monotonic() - self.changed < HEARD_SECONDS
        )

    def ready_for(self) -> float:
        """Return how many seconds the pod has been ready."""
        return time.monotonic() - self.changed if self.ready else -1.0

    def start(self) -> None:
        """Create and start the container."""
        refuse_root(self.container["image"], self.spec)
        docker("run", "--detach", f"--name={self.name}", *self._options())
        self.ip = address(self.name, self.node.network)

    def watch(self) -> None:
        """Probe the container until it is told to stop, and restart it if it ends."""
        self._in_thread(self._probe)

    def wait(self) -> int:
        """Wait until the container has ended by itself; keep its log."""
        self.exit_code = int(docker("wait", self.name).stdout)
        self.keep_log()
        return self.exit_code

    def stop(self) -> None:
        """Stop the pod as the kubelet does, without waiting for that."""
        self.stopping = True
        self._set_ready(False)
        self._in_thread(self._stop)

    def join(self) -> None:
        """Wait until the pod has stopped."""
        for thread in self._threads:
            thread.join()

    def vanish(self) -> None:
        """Let the pod's node lose its power: nothing is answered, and nobody is told."""
        docker("pause", self.name)

    def remove(self) -> None:
        """Remove the container, whatever it does."""
        self.stopping = True
        self._set_ready(False)
        docker("rm", "--force", "--volumes", self.name, check=False)
        self._folder.cleanup()

    def keep_log(self) -> None:
        """Keep what the container has printed."""
        completed = docker("logs", self.name, check=False)
        self.log += completed.stdout + completed.stderr

    def _in_thread(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready, self.changed = ready, time.monotonic()

    def _options(self) -> list[str]:
        """Return the options of `docker run` that the template means."""
        security = self.container["securityContext"]
        options = [
            f"--network={self.node.network}",
            f"--memory={megabytes(self.container['resources']['limits']['memory'])}m",
            *(f"--add-host={name}:{ip}" for name, ip in self.node.hosts.items()),
            *(f"--cap-drop={name}" for name in security["capabilities"]["drop"]),
        ]
        if security["readOnlyRootFilesystem"]:
            options.append("--read-only")
        if not security["allowPrivilegeEscalation"]:
            options.append("--security-opt=no-new-privileges")
        if user := self.spec["securityContext"].get("runAsUser"):
            options.append(f"--user={user}")
        variables = self.node.environment(self.container)
        options += [f"--env={name}={value}" for name, value in variables.items()]
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        for mount in self.container["volumeMounts"]:
            options.append(self._mount(volumes[mount["name"]], mount["mountPath"]))
        command = self.container.get("command", [])
        entrypoint = [f"--entrypoint={command[0]}"] if command else []
        return [*options, *entrypoint, self.container["image"], *command[1:]]

    def _mount(self, volume: Object, path: str) -> str:
        if "emptyDir" in volume:
            assert volume["emptyDir"]["medium"] == "Memory"
            size = megabytes(volume["emptyDir"]["sizeLimit"])
            return f"--tmpfs={path}:rw,exec,mode=0777,size={size}m"
        folder = Path(self._folder.name, volume["name"])
        folder.mkdir(parents=True)
        for parent in (folder, folder.parent):
            parent.chmod(0o755)
        for name, text in self.node.files(volume).items():
            (folder / name).write_text(text, encoding="utf-8")
        return f"--volume={folder}:{path}:ro"

    def _probe(self) -> None:
        """Run the start-up probe, then the two others beside each other."""
        if not self._started():
            return
        due = dict.fromkeys(["readinessProbe", "livenessProbe"], time.monotonic())
        failed = dict.fromkeys(due, 0)
        while not self.stopping:
            for name in due:
                probe = DEFAULTS | self.container[name]
                if time.monotonic() < due[name]:
                    continue
                due[name] = time.monotonic() + probe["periodSeconds"]
                failed[name] = 0 if self._succeeds(probe) else failed[name] + 1
                over = failed[name] >= probe["failureThreshold"]
                if name == "readinessProbe" and (over or not failed[name]):
                    self._set_ready(not over and not self.stopping)
                elif over:
                    self._restart()
                    return
            time.sleep(PAUSE_SECONDS)

    def _started(self) -> bool:
        probe = DEFAULTS | self.container.get("startupProbe", {})
        if "startupProbe" not in self.container:
            return True
        for _ in range(probe["failureThreshold"]):
            if self.stopping:
                return False
            if self._succeeds(probe):
                return True
            if not self._runs():
                break
            time.sleep(probe["periodSeconds"])
        self._restart()
        return False

    def _runs(self) -> bool:
        state = docker("inspect", "--format={{.State.Running}}", self.name, check=False)
        return state.stdout.strip() == "true"

    def _restart(self) -> None:
        self._set_ready(False)
        time.sleep(RESTART_SECONDS)
        if not self.stopping:
            self.restarts += 1
            docker("restart", f"--timeout={int(self.grace)}", self.name, check=False)
            self._in_thread(self._probe)

    def _succeeds(self, probe: Mapping[str, Any]) -> bool:
        action = probe.get("httpGet") or probe["tcpSocket"]
        place = (self.ip, self.port(action["port"]))
        with suppress(OSError, HTTPException):
            if "path" not in action:
                socket.create_connection(place, probe["timeoutSeconds"]).close()
                return True
            client = HTTPConnection(*place, timeout=probe["timeoutSeconds"])
            with closing(client):
                client.request("GET", action["path"])
                return client.getresponse().status < HTTPStatus.MULTIPLE_CHOICES
        return False

    def _stop(self) -> None:
        end = time.monotonic() + self.grace
        time.sleep(self.container["lifecycle"]["preStop"]["sleep"]["seconds"])
        docker("kill", "--signal=TERM", self.name, check=False)
        while self._runs():
            if time.monotonic() > end:
                self.killed = True
                docker("kill", self.name, check=False)
            time.sleep(0.2)
        self.wait()
        self.remove()


def megabytes(quantity: str) -> int:
    """Return a quantity of memory in megabytes."""
    match = re.fullmatch(r"(\d+)Mi", quantity)
    assert match, quantity
    return int(match[1])


def refuse_root(image: str, spec: Object) -> None:
    """Raise AssertionError where `runAsNonRoot` makes the kubelet refuse an image."""
    [inspected] = json.loads(docker("image", "inspect", image).stdout)
    user = spec["securityContext"].get("runAsUser") or inspected["Config"]["User"]
    number = str(user).partition(":")[0]
    assert spec["securityContext"]["runAsNonRoot"]
    assert number.isdecimal(), f"{image}: the user {user!r} has no number"
    assert int(number) > 0, f"{image} runs as root"
