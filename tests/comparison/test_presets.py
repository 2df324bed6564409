"""The presets are variants of the template, and Cookiecutter takes every answer."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from lab.projects import Bakery, tree_of
from lab.variants import CHOICES, PUBLIC, QUESTIONS, ROOT, SWITCHES, TEXTS, VARIANTS

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
REQUIRED = {
    "local-postgres",
    "staging-pgbouncer",
    "production-kubernetes",
    "production-neon",
    "serverless-neon",
}
DECISIONS = [name for name in PUBLIC if name not in TEXTS]


@pytest.fixture(params=PRESETS, ids=[path.stem for path in PRESETS])
def preset(request: pytest.FixtureRequest) -> Path:
    """Run the test for every preset."""
    chosen: Path = request.param
    return chosen


def answers_of(preset: Path) -> dict[str, object]:
    """Return the answers of a preset."""
    document = yaml.safe_load(preset.read_text(encoding="utf-8"))
    assert list(document) == ["default_context"]
    answers: dict[str, object] = document["default_context"]
    return answers


def unknown(answers: Mapping[str, object]) -> list[str]:
    """Return every answer that cookiecutter.json does not know."""
    return [
        name
        for name, value in answers.items()
        if name not in PUBLIC
        or (name in CHOICES and value not in CHOICES[name])
        or (name in SWITCHES and not isinstance(value, bool))
    ]


def cookiecutter(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run Cookiecutter as a person does, with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", "--no-input", *arguments, str(ROOT)],
        cwd=home,
        env=os.environ | {"HOME": str(home), "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_required_presets_are_there() -> None:
    assert {path.stem for path in PRESETS} >= REQUIRED


def test_every_answer_is_known(preset: Path) -> None:
    assert unknown(answers_of(preset)) == []


def test_every_decision_is_made(preset: Path) -> None:
    """The person's names are theirs to give; everything else is the preset's."""
    assert list(answers_of(preset)) == DECISIONS


def test_preset_is_a_tested_variant(preset: Path) -> None:
    answers = answers_of(preset)
    ids = {variant.id for variant in VARIANTS}
    migrate = "migrate" if answers["migrate_service"] else "nomigrate"
    name = f"{answers['database']}-{answers['pool']}-{answers['driver']}-{migrate}"
    assert name in ids


def test_presets_share_what_should_be_the_same_everywhere() -> None:
    for name in ("driver", "postgres_version", "python_version"):
        assert len({answers_of(preset)[name] for preset in PRESETS}) == 1


def test_preset_is_rendered_from_the_command_line(
    bake: Bakery, preset: Path, tmp_path: Path
) -> None:
    completed = cookiecutter("--config-file", str(preset), home=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert completed.stderr == ""
    assert tree_of(tmp_path / "my-service") == bake(**answers_of(preset)).tree()


@pytest.mark.parametrize(
    "answers",
    [
        {"databse": "neon"},
        {"database": "neo"},
        {"postgres_version": 18},
        {"migrate_service": "yes"},
    ],
    ids=str,
)
def test_unknown_answer_is_found(answers: dict[str, object]) -> None:
    assert unknown(answers) == list(answers)


def test_cookiecutter_drops_what_follows_a_bad_answer(
    bake: Bakery, tmp_path: Path
) -> None:
    """Why the checks above are needed: the exit code is 0, and Neon is forgotten."""
    preset = tmp_path / "preset.yaml"
    preset.write_text("default_context:\n  pool: always\n  database: neon\n")
    completed = cookiecutter("--config-file", str(preset), home=tmp_path)
    assert completed.returncode == 0
    assert tree_of(tmp_path / "my-service") == bake().tree()


# The version of the template


def test_template_version_is_the_same_everywhere(bake: Bakery) -> None:
    version = QUESTIONS["_template_version"]
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rendered = tomllib.loads(bake().read("pyproject.toml"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(
        r"^## (\d.*)$", changelog, re.MULTILINE
    )  # Not what is unreleased.
    assert newest is not None
    assert newest[1].split()[0] == version
    assert own["project"]["version"] == version
    assert rendered["tool"]["cookiecutter"]["version"] == version


def test_template_version_is_shown_in_the_rendered_readme(bake: Bakery) -> None:
    assert f", version {QUESTIONS['_template_version']}." in bake().read("README.md")
