"""Releases under load lose no request, nor does one that never becomes ready.

One variant whose pods keep connections, on its server. What happens to them is up to the
manifests, which are the same for all, and to uvicorn.
"""

import time

import pytest

from lab.copies import replace_once
from lab.prepared import chosen
from tests.kubernetes.conftest import MakeSite
from tests.kubernetes.releases import (
    Site,
    busy,
    images,
    line,
    stopped_well,
    three_replicas,
)

pytestmark = [pytest.mark.everything, pytest.mark.usefixtures("docker_engine")]

NEVER_READY_SECONDS = 12

MODEL = "app/models/user.py"
FIELD = "    email: str = Field(max_length=254)\n    team_id"
NEW_FIELD = FIELD.replace("team_id", "nickname: str | None = None\n    team_id")
EXPAND = 'op.add_column("users", sa.Column("nickname", sa.String()))'
CONTRACT = 'op.drop_column("users", "nickname")'
HEALTH = "app/routers/health.py"
FOUND, MISSING = "to_regclass('alembic_version')", "to_regclass('nothing')"


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """The service on a cluster of this file's."""
    variant = chosen("postgres", "queuepool", "asyncpg", migrate_service=True)
    return three_replicas(make_site(variant, "rollouts"))


def test_releases(site: Site, report: list[str]) -> None:
    """A column is added and used, then no longer used, then dropped.

    The version that drops it never becomes ready: the one before serves on without the
    column.
    """
    api = site.cluster.deployments["api"]
    expand = site.build("2", (MODEL, FIELD, NEW_FIELD), m0002=EXPAND)
    leave = site.build("3", (MODEL, NEW_FIELD, FIELD))
    contract = site.build("4", (HEALTH, FOUND, MISSING), m0003=CONTRACT)
    for what, image, succeeds in [
        ("release that adds a column", expand, True),
        ("release without a migration", leave, True),
        ("drops the column, is never ready", contract, False),
    ]:
        api.progress_seconds = 600 if succeeds else NEVER_READY_SECONDS
        start = time.monotonic()
        with busy(site) as clients:
            printed = site.deploy(image, check=succeeds)
            released = time.monotonic() - start
            assert ("successfully rolled out" in printed) == succeeds, printed
        report.append(line(what, clients.record, released))
        assert not clients.record.unexpected()
        assert not clients.record.contradictions
    assert "nickname" not in str(site.database.execute("SELECT * FROM users LIMIT 0"))
    assert sorted(images(site)) == ["3", "3", "3", "4"]

    site.kubectl("rollout", "undo", "deployment", "api")
    assert api.wait()
    assert images(site) == ["3", "3", "3"]
    replace_once(site.folder / HEALTH, MISSING, FOUND)
    api.settle()
    assert stopped_well(api.stopped)
