"""A service on a cluster of the laboratory, released as its README says."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.clients import Load, Record, load, refuse_at_commit
from lab.clusters import Cluster, cluster, postgres
from lab.commands import run
from lab.containers import docker
from lab.copies import replace_once, working_copy
from lab.kubectl import Commands, kubectl
from lab.kubelets import Pod
from lab.pages import shell_blocks
from lab.projects import Project
from lab.servers import Database

SERVER = "db.example.com"  # As secrets.env.example has it.
REPLICAS = 3
CLIENTS = 4
MIN_READY_SECONDS = 1  # For 35: the tests wait for each pod that long.


@dataclass
class Site:
    """A cluster, its database, and the folder that a person works in."""

    slug: str
    folder: Path
    cluster: Cluster
    database: Database
    commands: Commands
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """The URL of the service."""
        return self.cluster.url("api")

    def image(self, version: str) -> str:
        """Return the name of a version's image."""
        return f"registry.example.com/{self.slug}:{version}"

    def shell(
        self, *command: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command where `kubectl` is that of the cluster."""
        return run(
            command, folder=self.folder, environment=self.environment, check=check
        )

    def kubectl(self, *command: str) -> None:
        """Run a command of `kubectl` in the namespace."""
        self.shell("kubectl", f"--namespace={self.slug}", *command)

    def install(self) -> None:
        """Run the README's commands, and fill in what it says between them.

        Nothing is pushed: the images are on this engine already.
        """
        for block in shell_blocks(self.folder / "README.md", "## Kubernetes"):
            self.shell("sh", "-ec", block.replace("docker push", ": docker push"))
            if "cp kubernetes/secrets.env.example" in block:
                secrets = self.folder / "kubernetes" / "secrets.env"
                text = secrets.read_text(encoding="utf-8")
                secrets.write_text(text.replace("PASSWORD", "s3cret"))

    def build(self, version: str, *edits: tuple[str, str, str], **files: str) -> str:
        """Build a version with edits, and with migrations of these names."""
        for name, old, new in edits:
            replace_once(self.folder / name, old, new)
        for name, upgrade in files.items():
            self.add_migration(name, upgrade)
        image = self.image(version)
        docker("build", "--target=runtime", f"--tag={image}", str(self.folder))
        return image

    def next_migration(self) -> str:
        """Return the name of the migration after the last one."""
        number = len(list((self.folder / "alembic" / "versions").glob("*.py"))) + 1
        return f"m{number:04}"

    def remove_migration(self, name: str) -> None:
        """Remove a migration that no version has."""
        file = f"{name.removeprefix('m')}_change.py"
        (self.folder / "alembic" / "versions" / file).unlink()

    def add_migration(self, name: str, upgrade: str) -> None:
        """Add a migration after the last one; `name` is `m0002` and so on."""
        number = int(name.removeprefix("m"))
        lines = [
            "import sqlalchemy as sa",
            "from alembic import op",
            f'revision = "{number:04}"',
            f'down_revision = "{number - 1:04}"',
            "def upgrade() -> None:",
            f"    {upgrade}",
        ]
        path = self.folder / "alembic" / "versions" / f"{number:04}_change.py"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def deploy(self, image: str, *, check: bool = True) -> str:
        """Run `scripts/deploy.sh` with an image; return what it prints."""
        done = self.shell("scripts/deploy.sh", image, check=check)
        assert check or done.returncode, done.stdout
        return done.stdout + done.stderr


def three_replicas(site: Site) -> Site:
    """Install the service as its README says, and run three replicas."""
    site.install()
    site.cluster.deployments["api"].scale(REPLICAS)
    refuse_at_commit(site.database)
    return site


@contextmanager
def busy(site: Site) -> Iterator[Load]:
    """Let clients work, each request on a connection of its own.

    Users of those before them are none of theirs.
    """
    site.database.execute("DELETE FROM users")
    with load(site.url, clients=CLIENTS, keep_alive=False) as clients:
        clients.wait_for_rounds(2)
        yield clients
        clients.wait_for_rounds(2, since=time.monotonic())


def images(site: Site) -> list[str]:
    """Return the versions of the pods."""
    pods = site.cluster.deployments["api"].pods
    return [pod.container["image"].rpartition(":")[2] for pod in pods]


def line(what: str, record: Record, seconds: float) -> str:
    """Write what a step cost."""
    return (
        f"{what:36} {seconds:5.1f} s, {len(record.answers):5} requests,"
        f" {len(record.unexpected()):3} failed, slowest {record.slowest():.1f} s"
    )


def stopped_well(pods: list[Pod]) -> bool:
    """Tell whether pods have ended by themselves, within their grace period."""
    return all(pod.exit_code == 0 and not pod.killed for pod in pods)


@contextmanager
def site(project: Project, folder: Path) -> Iterator[Site]:
    """Run a cluster and a server for a project, and remove their images at the end.

    The pods of a rollout follow each other faster than the manifests say, and the package
    has one name for every site, so that Docker installs its packages once. Everything else
    is as rendered.
    """
    slug = str(project.answers["project_slug"])
    path = working_copy(project, folder)
    replace_once(
        path / "kubernetes" / "api.yaml",
        "minReadySeconds: 35",
        f"minReadySeconds: {MIN_READY_SECONDS}",
    )
    replace_once(path / "pyproject.toml", f'name = "{slug}"', 'name = "my-service"')
    version = str(project.answers["postgres_version"])
    tools = folder / "bin"
    tools.mkdir()
    with (
        cluster(slug) as running,
        postgres(slug, version) as address,
        kubectl(running, tools) as (commands, environment),
    ):
        running.node.hosts[SERVER] = address
        database = Database(f"postgresql://app:s3cret@{address}:5432/app")
        yield Site(slug, path, running, database, commands, environment)
        running.remove()
    images = docker("image", "ls", "--quiet", f"--filter=reference=*/{slug}").stdout
    docker("image", "rm", "--force", *images.split(), check=False)
    shutil.rmtree(path)
