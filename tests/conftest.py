"""Bake each project once, and keep Cookiecutter away from the person's files."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cookiecutter import hooks
from cookiecutter.config import DEFAULT_CONFIG
from cookiecutter.environment import StrictEnvironment
from filelock import FileLock
from pytest_cookies.plugin import Cookies

from lab.compiled import compiled_once
from lab.containers import missing_part
from lab.projects import Bakery, Project
from lab.servers import NEWEST, Server, own_server
from lab.services import ServiceEnvironment, install, lift_upper_bounds
from lab.variants import VARIANTS, Variant
from tests import tiers
from tests.progress import Progress

REPORTS = pytest.StashKey[list[list[str]]]()
# Where all processes of a run find the services' environments.
ENVIRONMENTS = "SERVICE_ENVIRONMENTS"
# What imports a service. Its own tests and tools start as they do for a person.
FORKED = frozenset({"alembic", "uvicorn", "engine_probe", "in_turn"})


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the tiers, with their option."""
    pluginmanager.register(tiers)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make room for what the suites report, and find this environment's programs.

    In a rendered service, uv takes this Python too, for its own may not be here.
    """
    config.stash[REPORTS] = []
    if not hasattr(config, "workerinput"):
        # Programs in it run as another user, whom pytest's folders keep out.
        folder = tempfile.TemporaryDirectory(prefix="environments-")
        Path(folder.name).chmod(0o755)
        os.environ[ENVIRONMENTS] = folder.name
        config.add_cleanup(folder.cleanup)
    programs = str(Path(sys.executable).parent)
    if programs not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = programs + os.pathsep + os.environ["PATH"]
    os.environ["UV_PYTHON"] = sys.executable
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if not hasattr(config, "workerinput") and terminal and not config.option.verbose:
        config.pluginmanager.register(Progress(terminal))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the reports of a pytest-xdist worker to its controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["reports"] = session.config.stash[REPORTS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the reports of a pytest-xdist worker that has ended."""
    node.config.stash[REPORTS] += getattr(node, "workeroutput", {}).get("reports", [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what the suites report."""
    for title, *lines in config.stash[REPORTS]:
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Collect lines about what a suite did, to be printed at the end of the run."""
    lines: list[str] = []
    yield lines
    if lines:
        title = request.module.__doc__.splitlines()[0].rstrip(".")
        request.config.stash[REPORTS].append([title, *lines])


@pytest.fixture(scope="session", autouse=True)
def _private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep rendered hooks and saved answers out of the person's folders.

    Cookiecutter never deletes a rendered hook, and saves every answer.
    """
    folder = tmp_path_factory.mktemp("cookiecutter")
    named_file = partial(tempfile.NamedTemporaryFile, dir=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "tempfile", SimpleNamespace(NamedTemporaryFile=named_file))
        patch.setitem(DEFAULT_CONFIG, "replay_dir", str(folder / "replay"))
        patch.setitem(DEFAULT_CONFIG, "cookiecutters_dir", str(folder / "clones"))
        patch.setenv("COOKIECUTTER_CONFIG", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    """Compile each file of the template once, and not for every project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StrictEnvironment, "compile", compiled_once())
        yield


@pytest.fixture(scope="session")
def bake(cookies_session: Cookies) -> Bakery:
    """Bake a project once per run."""
    return Bakery(cookies_session)


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Run the test for every variant."""
    chosen: Variant = request.param
    return chosen


@pytest.fixture
def project(bake: Bakery, variant: Variant) -> Project:
    """Return the project of every variant."""
    return bake(variant)


@pytest.fixture(scope="session")
def postgres_of() -> Iterator[Callable[[int], Server]]:
    """Return the tests' own PostgreSQL server of a version, which starts once.

    Whatever the version, it is the server that TEST_DATABASE_URL names, if any.
    """
    with ExitStack() as stack:

        @cache
        def server(version: int) -> Server:
            if url := os.environ.get("TEST_DATABASE_URL"):
                return Server(url)
            return stack.enter_context(own_server(version))

        yield server


@pytest.fixture(scope="session")
def postgres(postgres_of: Callable[[int], Server]) -> Server:
    """The newest PostgreSQL server."""
    return postgres_of(NEWEST)


@pytest.fixture(scope="session")
def environments(bake: Bakery) -> Callable[[str], ServiceEnvironment]:
    """Return the virtual environment of the services with a driver, made once per run.

    All processes of the run share it, and what Python has compiled of its packages. With
    NEWEST_DEPENDENCIES set, it has releases that the rendered bounds leave out.
    """
    folder = Path(os.environ[ENVIRONMENTS])

    @cache
    def environment(driver: str) -> ServiceEnvironment:
        path, complete = folder / driver, folder / f"{driver}-complete"
        with FileLock(f"{path}.lock"):
            if not complete.exists():
                project = folder / f"{driver}-project"
                chosen = next(each for each in VARIANTS if each.driver == driver)
                shutil.copytree(bake(chosen).path, project, dirs_exist_ok=True)
                if os.environ.get("NEWEST_DEPENDENCIES"):
                    lift_upper_bounds(project)
                install(project, path)
                complete.touch()
        return ServiceEnvironment(path, FORKED)

    return environment


@pytest.fixture
def environment(
    variant: Variant, environments: Callable[[str], ServiceEnvironment]
) -> ServiceEnvironment:
    """Return the virtual environment of every variant."""
    return environments(variant.driver)


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Require a Docker engine: without one, skip and say why; under CI=true, fail."""
    if missing := missing_part():
        message = f"needs a running Docker with Compose v2: {missing}"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
