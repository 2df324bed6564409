"""What may import what, and how long a file may be."""

import ast
from pathlib import Path

import pytest

from lab.variants import ROOT

FORBIDDEN = {
    "lab": {"benchmarks", "tests"},
    "benchmarks": {"tests"},
    "comparison": {"benchmarks", "lab", "tests"},
}
MOST_LINES = 500


def imported(source: str) -> set[str]:
    """Return the first names of what a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_imports_only_what_stands_below_it(package: str) -> None:
    modules = list(Path(ROOT, package).rglob("*.py"))
    assert modules
    for module in modules:
        assert not imported(module.read_text("utf-8")) & FORBIDDEN[package], module


def test_imports_are_found() -> None:
    source = "import tests.a\ndef f():\n    from lab.b import c\n"
    assert imported(source) == {"tests", "lab"}


def too_long(folder: Path) -> list[str]:
    """Return the modules below a folder that have too many lines."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if len(path.read_text("utf-8").splitlines()) > MOST_LINES
    ]


@pytest.mark.parametrize("package", ["lab", "tests"])
def test_no_file_is_too_long(package: str) -> None:
    assert too_long(ROOT / package) == []


def test_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    for name, lines in (("long", MOST_LINES + 1), ("short", MOST_LINES)):
        (tmp_path / f"{name}.py").write_text("\n" * lines)
    assert too_long(tmp_path) == ["long.py"]
