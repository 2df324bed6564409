"""No place of the pool is lost, whatever becomes of those who use it, all at once.

Each pool has its own way to take connections back, and each driver its own to be
cancelled.
"""

import json
from collections.abc import Callable

import pytest

from lab.copies import run_with
from lab.prepared import chosen
from lab.projects import Project
from lab.servers import Database
from lab.services import ServiceEnvironment
from lab.variants import CHOICES
from tests.service.probing import PROBES

pytestmark = pytest.mark.everything

SEED = "1"
NOTHING = {"places": 0, "holders": 0, "waiting": 0}
SETTINGS = {
    "DB_POOL_SIZE": "2",
    "DB_MAX_OVERFLOW": "3",
    "DB_MAX_CONNECTIONS": "5",
    "DB_POOL_TIMEOUT": "0.3",
    "DB_POOL_RECYCLE": "1",
    "LOG_LEVEL": "CRITICAL",
    "PYTHONPATH": str(PROBES),
    "PYTHONWARNINGS": "ignore",
}


@pytest.mark.parametrize(
    "variant",
    [
        chosen("postgres", pool, driver)
        for pool in ("nullpool", "queuepool")
        for driver in CHOICES["driver"]
    ],
    ids=str,
)
def test_no_place_is_lost(
    environment: ServiceEnvironment,
    project: Project,
    migrated: Callable[[], Database],
) -> None:
    settings = {**SETTINGS, "DATABASE_URL": migrated().url}
    done = run_with(settings, environment, project.path, "stress", SEED)

    found = json.loads(done.stdout)
    assert all(lost == NOTHING for lost in found["lost"]), found
    assert all(found["ended"][how] > 0 for how in ("well", "cancelled"))
    assert len(found["ended"]) > len(["well", "cancelled"])
