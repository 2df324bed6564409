"""A `kubectl` for a cluster of the laboratory: it knows what a rendered service needs.

What asks no cluster is the real one's. Everything else is sent to the cluster over HTTP.
"""

import json
import os
import shlex
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from lab.clusters import Cluster

PROGRAM = """\
#!{python}
import json, os, sys, urllib.request
arguments = sys.argv[1:]
if "kustomize" in arguments or "--dry-run=client" in arguments:
    os.execv({kubectl!r}, ["kubectl", *arguments])
text = sys.stdin.read() if "--filename=-" in arguments else ""
request = json.dumps([arguments, text, os.getcwd()]).encode()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
with opener.open("http://127.0.0.1:{port}/", request) as response:
    code, output = json.load(response)
print(output, end="")
sys.exit(code)
"""
Outcome = tuple[int, str]


class Commands:
    """The commands of `kubectl` that a cluster answers."""

    def __init__(self, cluster: Cluster) -> None:
        """Answer for a cluster."""
        self.cluster = cluster
        self.calls: list[str] = []

    def run(self, arguments: list[str], text: str, folder: Path) -> Outcome:
        """Run a command, with its standard input and its folder."""
        self.calls.append(shlex.join(arguments))
        options = dict(
            each.removeprefix("--").split("=", 1)
            for each in arguments
            if each.startswith("--") and "=" in each
        )
        words = [each for each in arguments if not each.startswith("--")]
        namespace = options.get("namespace")
        if namespace is not None and namespace != self.cluster.namespace:
            return 1, f"no namespace {namespace}\n"
        commands: dict[tuple[str, ...], Callable[..., Outcome]] = {
            ("apply",): self.apply,
            ("delete", "job"): self.delete_job,
            ("get", "job"): self.get_job,
            ("logs",): self.logs,
            ("rollout", "status", "deployment"): self.rollout_status,
            ("rollout", "undo", "deployment"): self.rollout_undo,
            ("rollout", "restart", "deployment"): self.rollout_restart,
        }
        given = {**options, "text": text, "folder": str(folder)}
        for name, command in commands.items():
            if tuple(words[: len(name)]) == name:
                return command(words[len(name) :], given)
        return 1, f"unknown command: {shlex.join(arguments)}\n"

    def apply(self, _: list[str], given: dict[str, str]) -> Outcome:
        """Apply a file, or standard input, all of it or what a label selects."""
        text = given["text"]
        if given["filename"] != "-":
            text = Path(given["folder"], given["filename"]).read_text(encoding="utf-8")
        objects = list(yaml.safe_load_all(text))
        if "selector" in given:
            key, value = given["selector"].split("=")
            objects = [
                each
                for each in objects
                if each["metadata"].get("labels", {}).get(key) == value
            ]
        if not objects:
            return 1, "error: no objects passed to apply\n"
        faults = self.cluster.apply(objects)
        return int(bool(faults)), "".join(f"{fault}\n" for fault in faults)

    def delete_job(self, words: list[str], *_: Any) -> Outcome:
        """Delete a Job, if there is one, and wait for its pods."""
        if job := self.cluster.jobs.pop(words[0], None):
            job.remove()
        return 0, ""

    def get_job(self, words: list[str], given: dict[str, str]) -> Outcome:
        """Print the types of a Job's conditions, or why it failed."""
        conditions = self.cluster.jobs[words[0]].conditions
        printed = {
            "{.status.conditions[*].type}": " ".join(conditions),
            '{.status.conditions[?(@.type=="Failed")].message}': "too often",
        }
        return 0, printed[given["output"].removeprefix("jsonpath=")]

    def logs(self, _: list[str], given: dict[str, str]) -> Outcome:
        """Print what the pods of a Job have printed."""
        job = given["selector"].removeprefix("app.kubernetes.io/name=")
        return 0, "".join(pod.log for pod in self.cluster.jobs[job].pods)

    def rollout_status(self, words: list[str], *_: Any) -> Outcome:
        """Wait for a rollout."""
        if self.cluster.deployments[words[0]].wait():
            return 0, f'deployment "{words[0]}" successfully rolled out\n'
        return 1, f'error: deployment "{words[0]}" exceeded its progress deadline\n'

    def rollout_undo(self, words: list[str], *_: Any) -> Outcome:
        """Go back to the version before."""
        self.cluster.deployments[words[0]].undo()
        return 0, ""

    def rollout_restart(self, words: list[str], *_: Any) -> Outcome:
        """Replace the pods of one Deployment, or of all."""
        for name in words or list(self.cluster.deployments):
            self.cluster.deployments[name].restart()
        return 0, ""


@contextmanager
def kubectl(
    cluster: Cluster, folder: Path
) -> Iterator[tuple[Commands, dict[str, str]]]:
    """Put a `kubectl` for a cluster into a folder.

    Yields what it does, and the environment in which a shell finds it.
    """
    commands = Commands(cluster)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            arguments, text, where = json.loads(self.rfile.read(length))
            try:
                outcome = commands.run(arguments, text, Path(where))
            except Exception:
                outcome = (1, traceback.format_exc())
            answer = json.dumps(outcome).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = folder / "kubectl"
        real = shutil.which("kubectl")
        port = server.server_address[1]
        program.write_text(
            PROGRAM.format(python=sys.executable, kubectl=real, port=port)
        )
        program.chmod(0o755)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        yield commands, {**os.environ, "PATH": path}
        server.shutdown()
