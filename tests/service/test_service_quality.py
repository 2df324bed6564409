"""The rendered code is formatted, lint-free and typed, with no fix-up run first.

Every database, pool and driver; whether a Compose service migrates is in no file of
Python. What is read and not run, is read of every variant.
"""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.clones import new_checkout, run
from lab.copies import replace_once, working_copy
from lab.pairs import one_of_each
from lab.projects import Bakery, Project, literal
from lab.services import ServiceEnvironment
from lab.variants import VARIANTS, Variant
from tests.rendering.test_answers import HOSTILE

FORMAT = ("ruff", "format", "--check", "--no-cache")
LINT = ("ruff", "check", "--no-cache", "--no-fix")
TYPES = ("mypy",)

LONGEST_SLUG = 50
# A slug that no other text in a project contains.
MARKER = "zqzqzq"

# A broad set of rules has at least these.
RULES = {"A", "ANN", "ARG", "ASYNC", "B", "BLE", "C4", "D", "E", "ERA", "F", "I", "N"}
RULES |= {"PERF", "PL", "PT", "PTH", "RET", "RUF", "S", "SIM", "T20", "TRY", "UP", "W"}

# Every suppressed warning of the rendered code. Ruff reports one that is not needed.
SUPPRESSIONS = {
    "alembic/env.py": ["F401"],
    "tests/conftest.py": ["ARG001", "ARG001"],
    "tests/test_database_url.py": ["S105"],
}
SUPPRESSION = re.compile(
    r"noqa(?::\s*(?P<code>[A-Z]+[0-9]+)\b)?"
    r"|type:\s*ignore|mypy:|ruff:|fmt:|isort:|pyright:|pragma:"
)

Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(environments: Callable[[str], ServiceEnvironment]) -> Check:
    """Run one of the checks on a folder, from the environment of a driver's services."""

    def run(
        driver: str, path: Path, command: tuple[str, ...]
    ) -> subprocess.CompletedProcess[str]:
        if command == TYPES:
            return environments(driver).check_types(path, check=False)
        return environments(driver).run(path, *command, check=False)

    return run


def python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py"))


def passes(completed: subprocess.CompletedProcess[str]) -> bool:
    assert completed.returncode in (0, 1), completed.stdout + completed.stderr
    return completed.returncode == 0


each_service = pytest.mark.parametrize(
    "variant", one_of_each("database", "pool", "driver"), ids=str
)


# Every service


@each_service
def test_format(check: Check, variant: Variant, path: Path) -> None:
    completed = check(variant.driver, path, FORMAT)
    assert passes(completed), completed.stdout
    formatted = re.match(r"(\d+) files? already formatted", completed.stdout)
    assert formatted
    assert int(formatted[1]) >= len(python_files(path))


@each_service
def test_lint(check: Check, variant: Variant, path: Path) -> None:
    completed = check(variant.driver, path, LINT)
    assert passes(completed), completed.stdout


@pytest.mark.parametrize(
    "variant",
    # mypy begins anew with each driver's packages: the quick tier has one.
    [
        pytest.param(
            variant,
            marks=(
                pytest.mark.pairwise
                if variant.driver == "asyncpg"
                else pytest.mark.everything
            ),
        )
        for variant in one_of_each("database", "pool", "driver")
    ],
    ids=str,
)
def test_types(check: Check, variant: Variant, path: Path) -> None:
    completed = check(variant.driver, path, TYPES)
    assert passes(completed), completed.stdout
    count = len(python_files(path))
    assert completed.stdout == f"Success: no issues found in {count} source files\n"


def test_rules_are_broad(project: Project) -> None:
    tools = tomllib.loads(project.read("pyproject.toml"))["tool"]
    assert set(tools["ruff"]["lint"]["select"]) >= RULES
    assert tools["mypy"]["strict"] is True
    assert "overrides" not in tools["mypy"]
    assert not {"exclude", "extend-exclude"} & set(tools["ruff"])


def test_few_warnings_are_suppressed(project: Project) -> None:
    found: dict[str, list[str | None]] = {}
    for name in project.files():
        if not name.endswith(".py"):
            continue
        comments = re.findall(r"#.*", project.read(name))
        for match in SUPPRESSION.finditer("\n".join(comments)):
            found.setdefault(name, []).append(match["code"])
    assert found == {
        name: codes for name, codes in SUPPRESSIONS.items() if name in project.files()
    }


# Every answer


@pytest.mark.pairwise
@each_service
def test_long_slug_and_hostile_texts(
    bake: Bakery, check: Check, variant: Variant, tmp_path: Path
) -> None:
    answers = {
        "project_slug": "s" + "-long" * 9 + "-ago",
        "project_name": literal(HOSTILE["both-quotes"]),
        "description": literal(HOSTILE["long"] + HOSTILE["jinja-expression"]),
        "full_name": literal(HOSTILE["backslash-quote"]),
        "email": literal(HOSTILE["newline"]),
    }
    assert len(answers["project_slug"]) == LONGEST_SLUG
    project = bake(variant, **answers)
    path = working_copy(project, tmp_path)
    for command in (FORMAT, LINT):
        completed = check(variant.driver, path, command)
        assert passes(completed), completed.stdout


def renamed(project: Project, slug: str, folder: Path) -> Path:
    """Copy a project of the slug MARKER, and give the copy another slug."""
    path = folder / slug
    shutil.copytree(project.path, path)
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes().replace(MARKER.encode(), slug.encode()))
    return path


@pytest.mark.everything
@each_service
def test_every_length_of_slug(
    bake: Bakery, check: Check, variant: Variant, tmp_path: Path
) -> None:
    """A line may fit, or not, by one character of the slug."""
    project = bake(variant, project_slug=MARKER)
    for length in range(1, LONGEST_SLUG + 1):
        renamed(project, "s" * length, tmp_path)
    for command in (FORMAT, LINT):
        completed = check(variant.driver, tmp_path, command)
        assert passes(completed), completed.stdout


@pytest.mark.parametrize("slug", ["s", "s" * LONGEST_SLUG])
def test_renamed_project_is_as_rendered(
    bake: Bakery, slug: str, tmp_path: Path
) -> None:
    path = renamed(bake(project_slug=MARKER), slug, tmp_path)
    rendered = bake(project_slug=slug)
    for name in rendered.files():
        if name.endswith((".py", ".toml")):
            assert (path / name).read_bytes() == (rendered.path / name).read_bytes()


# The checks find what they look for

MODELS = "app/models/base.py"
DEFECTS = {
    "format": (FORMAT, MODELS, "MAX_KEY = 2**53 - 1", "MAX_KEY = 2 ** 53 - 1"),
    "blank-line": (FORMAT, MODELS, "MAX_KEY =", "\n\n\nMAX_KEY ="),
    "quotes": (FORMAT, "tests/test_users.py", '"Ada Lovelace"', "'Ada Lovelace'"),
    "unused-import": (LINT, MODELS, "from typing", "import json\nfrom typing"),
    "import-order": (LINT, MODELS, "from datetime", "import uuid\n\nfrom datetime"),
    "docstring": (
        LINT,
        MODELS,
        '    """The current time, with its time zone."""\n',
        "",
    ),
    "commented-code": (LINT, MODELS, "MAX_KEY =", "# MAX_KEY = 1\nMAX_KEY ="),
    "unused-noqa": (LINT, MODELS, "2**53 - 1", "2**53 - 1  # noqa: F401"),
    "print": (LINT, MODELS, "    return datetime", "    print()\n    return datetime"),
    "wrong-type": (TYPES, MODELS, "return datetime.now(UTC)", "return 1"),
    "no-annotation": (TYPES, MODELS, "def utc_now() -> datetime:", "def utc_now():"),
    "unused-ignore": (TYPES, MODELS, "2**53 - 1", "2**53 - 1  # type: ignore"),
    "type-in-tests": (TYPES, "tests/test_users.py", "return int(", "return str("),
    "type-in-alembic": (
        TYPES,
        "alembic/env.py",
        ": WholeSeconds = 15",
        ": WholeSeconds = ''",
    ),
}


@pytest.mark.parametrize(
    "defect",
    [
        # A defect in the types makes mypy read nearly everything again.
        pytest.param(name, marks=pytest.mark.everything if tool == TYPES else ())
        for name, (tool, *_) in DEFECTS.items()
    ],
)
def test_defect_is_found(
    bake: Bakery, check: Check, defect: str, tmp_path: Path
) -> None:
    command, name, old, new = DEFECTS[defect]
    variant = VARIANTS[0]
    path = working_copy(bake(variant), tmp_path)
    replace_once(path / name, old, new)
    assert not passes(check(variant.driver, path, command))


def test_wrong_type_in_a_new_script_is_found(
    bake: Bakery, check: Check, tmp_path: Path
) -> None:
    """Whatever folder a person puts it in."""
    path = working_copy(bake(VARIANTS[0]), tmp_path)
    (path / "scripts" / "seed.py").write_text('ROWS: int = ""\n')
    assert "scripts/seed.py:1" in check(VARIANTS[0].driver, path, TYPES).stdout


@pytest.mark.everything
def test_pre_commit_passes(bake: Bakery, tmp_path: Path) -> None:
    """And finds what is wrong."""
    path = new_checkout(working_copy(bake(VARIANTS[0]), tmp_path))
    command = ("uvx", "pre-commit", "run", "--all-files")
    run(path, *command)
    replace_once(path / MODELS, "return datetime.now(UTC)", "return 1")
    failed = run(path, *command, check=False)
    assert re.search(r"^mypy\.+Failed$", failed.stdout, re.MULTILINE), failed.stdout


@pytest.mark.parametrize(
    "comment",
    ["# noqa", "#noqa: E501", "# type: ignore", "# mypy: ignore-errors", "# fmt: off"],
)
def test_suppression_is_found(comment: str) -> None:
    assert SUPPRESSION.search(comment)
