"""Projects that are rendered from the template, and how their files are read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter
from pytest_cookies.plugin import Cookies, Result

from lab.variants import ROOT, Variant


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
