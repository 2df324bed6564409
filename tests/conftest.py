"""Bake each project once, and keep Cookiecutter away from the person's files."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cookiecutter import hooks
from cookiecutter.config import DEFAULT_CONFIG
from cookiecutter.main import cookiecutter
from pytest_cookies.plugin import Cookies, Result

from tests.containers import require_docker
from tests.servers import Server, own_server
from tests.services import ServiceEnvironment, install, lift_upper_bounds
from tests.variants import ROOT, VARIANTS, Variant

REPORTS = pytest.StashKey[list[list[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what the suites report."""
    config.stash[REPORTS] = []


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


@dataclass(frozen=True)
class Project:
    """A baked project."""

    path: Path
    answers: Mapping[str, Any]
    variant: Variant | None = None

    def read(self, name: str) -> str:
        """Return the text of a file, with its line endings as they are."""
        return (self.path / name).read_bytes().decode()

    def files(self) -> list[str]:
        """Return the paths of all files, sorted."""
        return files_of(self.path)

    def tree(self) -> dict[str, tuple[bytes, bool]]:
        """Return the content of every file and whether it is executable."""
        return tree_of(self.path)


class Bakery:
    """Bakes projects, and remembers them."""

    def __init__(self, cookies: Cookies) -> None:
        """Bake with the given pytest-cookies helper."""
        self._cookies = cookies
        self._projects: dict[str, Project] = {}

    def __call__(self, variant: Variant | None = None, /, **answers: object) -> Project:
        """Return the project for a variant, for other answers, or for both."""
        answers = {**(variant.answers if variant else {}), **answers}
        key = repr(sorted(answers.items()))
        if key not in self._projects:
            self._projects[key] = self.fresh(variant, **answers)
        return self._projects[key]

    def fresh(self, variant: Variant | None = None, /, **answers: object) -> Project:
        """Bake a project, whether or not it has been baked before."""
        answers = {**(variant.answers if variant else {}), **answers}
        result = self.attempt(**answers)
        if result.exception is not None:
            message = f"cannot bake {answers}: {result.exception!r}"
            raise AssertionError(message) from result.exception
        assert result.project_path is not None
        return Project(result.project_path, result.context, variant)

    def attempt(self, **answers: object) -> Result:
        """Bake, and return what pytest-cookies reports."""
        return self._cookies.bake(extra_context=answers, template=str(ROOT))


def files_of(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, sorted, with forward slashes."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir()
    )


def tree_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Return the content of every file below a folder and whether it is executable."""
    return {
        name: ((folder / name).read_bytes(), os.access(folder / name, os.X_OK))
        for name in files_of(folder)
    }


def literal(text: str) -> str:
    """Write a value so that Cookiecutter, which renders answers, gets it unchanged."""
    return text.replace("{", "{{ '{' }}")


def render(output_dir: Path, **options: Any) -> Path:
    """Run Cookiecutter on this template from Python."""
    return Path(cookiecutter(str(ROOT), output_dir=str(output_dir), **options))


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
def postgres() -> Iterator[Server]:
    """A PostgreSQL server: the one that TEST_DATABASE_URL names, or the tests' own."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Server(url)
        return
    with own_server() as server:
        yield server


@pytest.fixture(scope="session")
def environments(
    bake: Bakery, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], ServiceEnvironment]:
    """Return the virtual environment of the services with a driver, made once.

    With NEWEST_DEPENDENCIES set, it has releases that the rendered bounds leave out.
    """

    @cache
    def environment(driver: str) -> ServiceEnvironment:
        chosen = next(variant for variant in VARIANTS if variant.driver == driver)
        folder = tmp_path_factory.mktemp("environment")
        project = folder / "project"
        shutil.copytree(bake(chosen).path, project)
        if os.environ.get("NEWEST_DEPENDENCIES"):
            lift_upper_bounds(project)
        return install(project, folder / driver)

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
    require_docker()
