"""What may import what."""

import ast
from pathlib import Path

import pytest

from lab.variants import ROOT

FORBIDDEN = {
    "lab": {"benchmarks", "tests"},
    "benchmarks": {"tests"},
    "comparison": {"benchmarks", "lab", "tests"},
}


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
