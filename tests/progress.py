"""What a run prints: a line for each file, with its time, and each reason to skip."""

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest


class Progress:
    """Prints a line when the last test of a file is over, and each failure at once."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        """Print to pytest's terminal, which then names no test that passes."""
        self.terminal = terminal
        self.terminal.showfspath = False
        self.waiting: Counter[str] = Counter()
        self.outcomes: dict[str, Counter[str]] = {}
        self.seconds: dict[str, float] = {}
        self.running = True

    def expect(self, ids: list[str]) -> None:
        """Note which tests will run."""
        self.waiting = Counter(file_of(test) for test in ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the tests of a run in this process."""
        self.expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note the tests of a run in several processes, each of which knows all."""
        self.expect(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Let the terminal count a test that ends, and print nothing."""
        status = yield
        return (status[0], "", "") if self.running else status

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test, and print the line of its file if it is the last one."""
        file = file_of(report.nodeid)
        outcomes = self.outcomes.setdefault(file, Counter())
        self.seconds[file] = self.seconds.get(file, 0) + report.duration
        if report.failed:
            self.terminal.write_line(f"FAILED {report.nodeid}", red=True)
        if report.when == "call" or not report.passed:
            outcomes[report.outcome] += 1
        if report.when == "teardown":
            self.waiting[file] -= 1
            if not self.waiting[file]:
                text = ", ".join(f"{n} {name}" for name, n in outcomes.items())
                self.terminal.write_line(
                    f"{file:50} {text:25} {self.seconds[file]:6.1f} s"
                )

    def pytest_sessionfinish(self) -> None:
        """Let the terminal print again."""
        self.running = False

    def pytest_terminal_summary(self) -> None:
        """Say why tests were skipped, once for each reason."""
        reasons = Counter(
            report.longrepr[2].removeprefix("Skipped: ")
            for report in self.terminal.stats.get("skipped", [])
        )
        for reason, number in reasons.items():
            self.terminal.write_line(f"{number} tests were skipped: {reason}")


def file_of(test: str) -> str:
    """Return the file of a test, from its id."""
    return test.partition("::")[0]
