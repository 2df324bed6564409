"""Run the tests of a rendered service, and read what they report."""

import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from lab.copies import run_with
from lab.servers import Database
from lab.services import ServiceEnvironment

NEEDS_POSTGRES = "needs PostgreSQL: --postgres"
USAGE_ERROR = 4
Environments = Callable[[str], ServiceEnvironment]


@dataclass(frozen=True)
class Outcome:
    """What a run of a service's tests reports."""

    completed: CompletedProcess[str]
    tests: frozenset[str]
    skipped: dict[str, str]
    failed: frozenset[str]

    @property
    def output(self) -> str:
        """Everything that the run printed."""
        return self.completed.stdout + self.completed.stderr


def run_tests(
    environment: ServiceEnvironment, path: Path, *options: str, **variables: str
) -> Outcome:
    """Run the tests of the service at `path` with `variables` set."""
    options = ("-p", "no:cacheprovider", *options)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = ("pytest", f"--junitxml={report}", *options)
        completed = run_with(variables, environment, path, *command, check=False)
        cases = read_report(report) if report.is_file() else {}
    return Outcome(
        completed,
        tests=frozenset(cases),
        skipped={
            name: skip.get("message", "")
            for name, case in cases.items()
            for skip in case.findall("skipped")
        },
        failed=frozenset(
            name
            for name, case in cases.items()
            if case.find("failure") is not None or case.find("error") is not None
        ),
    )


def read_report(report: Path) -> dict[str, ET.Element]:
    """Return what pytest reported of each test, by its module and name."""
    return {
        f"{case.get('classname')}.{case.get('name')}": case
        for case in ET.parse(report).iter("testcase")  # noqa: S314 (pytest wrote it)
    }


def assert_passed(outcome: Outcome) -> None:
    """Require that some tests ran, and that all passed."""
    assert outcome.completed.returncode == 0, outcome.output
    assert not outcome.failed
    assert outcome.tests


def assert_success(outcome: Outcome) -> None:
    """Require that some tests ran, that all passed, and that nothing was warned of."""
    assert_passed(outcome)
    assert "warnings summary" not in outcome.output, outcome.output


def run_both(
    environment: ServiceEnvironment,
    path: Path,
    database: Database,
    *options: str,
    **variables: str,
) -> tuple[Outcome, Outcome]:
    """Run the tests on SQLite and, at the same time, on a PostgreSQL database."""
    with ThreadPoolExecutor() as threads:
        on_sqlite = threads.submit(run_tests, environment, path, *options, **variables)
        variables["TEST_DATABASE_URL"] = database.url
        on_postgres = run_tests(environment, path, *options, **variables)
        return on_sqlite.result(), on_postgres
