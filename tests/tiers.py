"""Two tiers: the quick one, which `uv run pytest` runs, and everything.

Left out of the quick tier is what needs Docker, what is marked `everything`, and of a
test that is marked `pairwise` the variants beyond those that hold every pair of answers.

The folders and files that take longest come first, so that no long file starts when the
other processes are about to end. By itself, pytest-xdist starts with the files of most
tests.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from lab.pairs import covering_variants
from lab.variants import ROOT, VARIANTS, Variant

PAIRWISE = covering_variants(VARIANTS, ("database", "pool", "driver"))
SLOWEST_FIRST = (
    "containers",
    "kubernetes",
    "faults",
    "service/test_service_suites.py",
    "service",
    "rendering/test_prompts.py",
)
LEFT_OUT = pytest.StashKey[int]()
MARKERS = {
    "everything": "runs with --everything alone",
    "pairwise": "runs without --everything for variants that hold every pair of answers",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run everything."""
    parser.addoption(
        "--everything",
        action="store_true",
        help="run the tests too that need Docker or much time",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.stash[LEFT_OUT] = 0


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Run two processes for each core, for servers keep tests waiting."""
    cores = yield
    return 2 * cores


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Order the files, and leave out what the quick tier does without."""
    items.sort(key=turn)
    if config.getoption("everything"):
        return
    left_out = [item for item in items if not is_quick(item)]
    items[:] = [item for item in items if is_quick(item)]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)


def turn(item: pytest.Item) -> int:
    """Return the place of a test's folder, or of its file, among the slowest."""
    path = item.path.relative_to(ROOT / "tests")
    places = (path, *path.parents)
    return next(
        (turn for turn, name in enumerate(SLOWEST_FIRST) if Path(name) in places),
        len(SLOWEST_FIRST),
    )


def is_quick(item: pytest.Item) -> bool:
    """Tell whether a test is of the quick tier."""
    if item.get_closest_marker("everything"):
        return False
    if "docker_engine" in getattr(item, "fixturenames", ()):
        return False
    if not item.get_closest_marker("pairwise"):
        return True
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return all(
        value in PAIRWISE for value in parameters.values() if isinstance(value, Variant)
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the controller of pytest-xdist know; each worker has left out the same."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take the number from a worker that has ended."""
    number = getattr(node, "workeroutput", {}).get("left_out", 0)
    config: pytest.Config = getattr(node, "config")  # noqa: B009 (xdist has no types)
    config.stash[LEFT_OUT] = max(config.stash[LEFT_OUT], number)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how much was left out, and how to run it."""
    if number := config.stash[LEFT_OUT]:
        command = " ".join(
            ["uv run pytest --everything", *config.invocation_params.args]
        )
        terminalreporter.write_line(
            f"The quick tier left out {number} tests. They run with: {command}"
        )
