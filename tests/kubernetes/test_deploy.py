"""scripts/deploy.sh stops at the first thing that fails, and rolls out nothing then.

With and without a Job that migrates, and with PgBouncer, whose rollout it waits for.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.commands import run
from lab.projects import Bakery
from lab.variants import VARIANTS

IMAGE = "registry.example.com/team/my-service:1.2"
pytestmark = pytest.mark.everything
# Notes its arguments, and the images of what is applied; fails for those in $FAIL.
KUBECTL = """\
#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
kustomize*) "$REAL" "$@" ;;
*apply*) grep -o 'image: my-service.*\\|image: registry.*' >> "$IMAGES" ;;
*.message*) echo "the reason" ;;
*"get job"*) cat "$CONDITIONS"; echo SuccessCriteriaMet Complete > "$CONDITIONS" ;;
*logs*) echo "the log" ;;
esac
test "$*" != "$FAIL"
"""
MIGRATE = [
    "--namespace=my-service delete job migrate --ignore-not-found --cascade=foreground",
    "--namespace=my-service apply --filename=- --selector=app.kubernetes.io/name=migrate",
    "--namespace=my-service get job migrate --output=jsonpath={.status.conditions[*].type}",
    "--namespace=my-service logs --selector=app.kubernetes.io/name=migrate --tail=50 --prefix",
]
REASON = '--namespace=my-service get job migrate --output=jsonpath={.status.conditions[?(@.type=="Failed")].message}'
ROLL_OUT = [
    "--namespace=my-service apply --filename=-",
    "--namespace=my-service rollout status deployment pgbouncer",
    "--namespace=my-service rollout status deployment api",
]
CALLS = ["kustomize kubernetes", *MIGRATE, *ROLL_OUT]
NOTHING = "no such call"


class Deployment:
    """The script of a project, with a `kubectl` that notes how it is called."""

    def __init__(self, bake: Bakery, folder: Path, **answers: object) -> None:
        """Render the project; `answers` differ from the preset production-kubernetes."""
        preset = {"database": "pgbouncer", "pool": "queuepool", "kubernetes": True}
        self.project = bake(VARIANTS[0], **{**preset, **answers}).path
        self.folder = folder
        self.conditions = folder / "conditions"
        self.conditions.write_text("Complete")
        program = folder / "kubectl"
        program.write_text(KUBECTL)
        program.chmod(0o755)

    def run(
        self, *arguments: str, fail: str = NOTHING
    ) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        variables = {
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(self.folder / "calls"),
            "IMAGES": str(self.folder / "images"),
            "CONDITIONS": str(self.conditions),
            "REAL": str(shutil.which("kubectl")),
            "FAIL": fail,
        }
        return run(
            [self.project / "scripts" / "deploy.sh", *arguments],
            folder=self.folder,  # It finds the project by itself.
            environment={**os.environ, **variables},
            check=False,
        )

    def calls(self) -> list[str]:
        """Return the calls so far."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def images(self) -> set[str]:
        """Return the images that were applied."""
        return set((self.folder / "images").read_text().splitlines())


def test_calls(bake: Bakery, tmp_path: Path) -> None:
    deployment = Deployment(bake, tmp_path)
    completed = deployment.run(IMAGE)
    assert completed.returncode == 0, completed.stderr
    assert deployment.calls() == CALLS
    assert deployment.images() == {f"image: {IMAGE}"}
    assert "the log\nIf pgbouncer does not come up, " in completed.stdout


def test_calls_without_a_job(bake: Bakery, tmp_path: Path) -> None:
    answers = {"database": "postgres", "migrate_service": False}
    deployment = Deployment(bake, tmp_path, **answers)
    assert deployment.run(IMAGE).returncode == 0
    assert deployment.calls() == [CALLS[0], ROLL_OUT[0], ROLL_OUT[2]]


def test_it_waits_for_the_job(bake: Bakery, tmp_path: Path) -> None:
    deployment = Deployment(bake, tmp_path)
    deployment.conditions.write_text("FailureTarget")
    assert deployment.run(IMAGE).returncode == 0
    assert deployment.calls() == [*CALLS[:4], CALLS[3], *CALLS[4:]]


def test_it_says_where_to_see_what_does_not_come_up(
    bake: Bakery, tmp_path: Path
) -> None:
    printed = Deployment(bake, tmp_path).run(IMAGE).stdout
    calls = re.findall(r"^kubectl (.+)$", printed, re.MULTILINE)
    assert calls == [
        f"--namespace=my-service {command} --selector=app.kubernetes.io/name={name}"
        for name in ("migrate", "pgbouncer", "api")
        for command in ("describe pods", "logs")
    ]
    for call in calls:
        run(["kubectl", *shlex.split(call), "--help"])


def test_failed_migration_rolls_out_nothing(bake: Bakery, tmp_path: Path) -> None:
    deployment = Deployment(bake, tmp_path)
    deployment.conditions.write_text("FailureTarget Failed")
    completed = deployment.run(IMAGE)
    assert completed.returncode == 1
    assert completed.stdout.endswith("the log\n")
    told = "The migration failed, so nothing was rolled out: the reason\n"
    assert completed.stderr == told
    assert deployment.calls() == [*CALLS[:5], REASON]


@pytest.mark.parametrize("number", range(len(CALLS)), ids=str)
def test_it_stops_where_a_call_fails(bake: Bakery, tmp_path: Path, number: int) -> None:
    deployment = Deployment(bake, tmp_path)
    completed = deployment.run(IMAGE, fail=CALLS[number])
    assert completed.returncode == 1
    assert deployment.calls() == CALLS[: number + 1]


def test_no_image(bake: Bakery, tmp_path: Path) -> None:
    deployment = Deployment(bake, tmp_path)
    completed = deployment.run()
    assert completed.returncode == 2
    assert "usage: scripts/deploy.sh IMAGE" in completed.stderr
    assert deployment.calls() == []


@pytest.mark.parametrize("call", [*CALLS, REASON], ids=str)
def test_kubectl_knows_the_call(call: str) -> None:
    run(["kubectl", *shlex.split(call), "--help"])


def test_kubectl_knows_the_calls_of_the_readme(bake: Bakery, tmp_path: Path) -> None:
    readme = Deployment(bake, tmp_path).project.joinpath("README.md").read_text()
    text = readme.replace("\\\n", "").replace("|\n", "\n")
    calls = re.findall(r"^ *kubectl (.+)$|`kubectl (.+?)`", text, re.MULTILINE)
    assert len(calls) == 6
    for call in map("".join, calls):
        run(["kubectl", *shlex.split(call), "--help"])


def test_kubectl_refuses_a_call_that_it_does_not_know() -> None:
    assert run(["kubectl", "logs", "--every", "--help"], check=False).returncode
