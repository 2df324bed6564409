"""What is measured: rendered variants and reference services, on one server."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from shutil import copytree

from benchmarks.load import USERS
from comparison.rendering import render
from lab.copies import replace_once
from lab.migrations import migrate
from lab.prepared import copy_database
from lab.servers import Database, OwnServer, own_server
from lab.services import RunningService, ServiceEnvironment, install, running_service
from lab.variants import VARIANTS, Variant

REFERENCES = Path(__file__).parent / "references"
PASTED = "pasted-"  # So begin the names of the services made of pasted snippets.

# The migrate service makes no difference to the service that it runs before.
MEASURED = [variant for variant in VARIANTS if variant.migrate_service]

Change = tuple[str, str, str]  # A file, a text in it, and the text instead.


@dataclass(frozen=True)
class Subject:
    """A service to measure."""

    name: str
    project: Path
    environment: ServiceEnvironment
    pooled: bool = False  # Whether it belongs behind PgBouncer.
    variables: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, folder: Path, url: str) -> Iterator[RunningService]:
        """Serve it with one worker on the database at `url`."""
        log = folder / f"{self.name}.log"
        settings = {"DATABASE_URL": url, **self.variables}
        with running_service(
            self.environment, self.project, log, "--no-access-log", **settings
        ) as service:
            yield service


class Laboratory:
    """A server, rendered services and their environments."""

    def __init__(self, folder: Path, server: OwnServer) -> None:
        """Render into `folder`; make databases on `server`."""
        self.folder = folder
        self.server = server
        self.project = cache(self._render)
        self.environment = cache(self._install)
        self.users = cache(self._migrate)

    def _render(self, variant: Variant) -> Path:
        return render(variant.answers, self.folder / variant.id)

    def _install(self, driver: str) -> ServiceEnvironment:
        variant = next(each for each in MEASURED if each.driver == driver)
        return install(self.project(variant), self.folder / driver)

    def _migrate(self) -> Database:
        database = self.server.create_database()
        migrate(self.project(MEASURED[0]), self.environment("asyncpg"), database)
        database.execute(
            "INSERT INTO users (name, email, created_at, updated_at)"
            " SELECT 'Ada', 'ada' || n || '@example.com', now(), now()"
            f" FROM generate_series(1, {USERS}) n"
        )
        return database

    def database(self) -> Database:
        """Create a database with a table of users, and USERS rows in it."""
        return copy_database(self.server, self.users())

    def variant(self, variant: Variant) -> Subject:
        """Return the subject of a rendered variant."""
        return Subject(
            name=variant.id.removesuffix("-migrate"),
            project=self.project(variant),
            environment=self.environment(variant.driver),
            pooled=variant.pooled_endpoint,
        )

    def altered(self, variant: Variant, name: str, *changes: Change) -> Subject:
        """Return the subject of a variant whose files are changed."""
        subject = self.variant(variant)
        project = self.folder / name
        copytree(subject.project, project)
        for file, old, new in changes:
            replace_once(project / file, old, new)
        return replace(subject, name=name, project=project)

    def floor(self) -> Subject:
        """Return the smallest application, on asyncpg's own pool."""
        return Subject("floor", REFERENCES / "floor", self.environment("asyncpg"))

    def floor_without_reset(self) -> Subject:
        """Return the floor, without the round trip that ends each use of its pool."""
        return replace(
            self.floor(), name="floor, no reset", variables={"NO_RESET": "1"}
        )

    def patterns(self, pool: str) -> Subject:
        """Return the patterns as they are pasted: queuepool, nullpool or neon."""
        return Subject(
            name=f"{PASTED}{pool}",
            project=REFERENCES / "patterns",
            environment=self.environment("asyncpg"),
            pooled=pool == "neon",
            variables={"POOL": pool},
        )

    def sync_sqlmodel(self) -> Subject:
        """Return plain SQLModel with a synchronous engine."""
        path = REFERENCES / "sync_sqlmodel"
        return Subject("sync SQLModel", path, self.environment("psycopg"))


@contextmanager
def laboratory(**settings: str) -> Iterator[Laboratory]:
    """Open a laboratory; `settings` go to its server."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        own_server(**{"max_connections": "600", **settings}) as server,
    ):
        yield Laboratory(Path(folder), server)
