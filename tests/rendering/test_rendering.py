"""What every variant looks like on disk.

Every variant, for each has files of its own. That a render over itself changes nothing
is up to Cookiecutter: each answer once.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from binaryornot.check import is_binary

from lab.databases import ON_DATABASE
from lab.pairs import each_answer, pairs_of_all
from lab.projects import Bakery, Project, files_of, render, tree_of
from lab.variants import (
    CHOICES,
    FACTS,
    QUESTIONS,
    ROOT,
    SWITCHES,
    TEXTS,
    VARIANTS,
    Variant,
)
from tests.rendering import checks

TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
ANSWERS_FILE = ".cookiecutter.yaml"
LONGEST_SLUG = "s" * 50
LONGEST_PATH = 160

ALWAYS = [
    ".cookiecutter.yaml",
    ".dockerignore",
    ".env.example",
    ".gitattributes",
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".python-version",
    "Dockerfile",
    "README.md",
    "alembic.ini",
    "alembic/env.py",
    "alembic/script.py.mako",
    "alembic/versions/0001_create_teams_and_users.py",
    "app/__init__.py",
    "app/core/__init__.py",
    "app/core/checks.py",
    "app/core/config.py",
    "app/core/database.py",
    "app/core/database_url.py",
    "app/core/driver.py",
    "app/core/endpoint.py",
    "app/core/environment.py",
    "app/core/fair_queue.py",
    "app/core/holders.py",
    "app/core/pool.py",
    "app/core/session.py",
    "app/dependencies.py",
    "app/dev.py",
    "app/errors.py",
    "app/jobs/__init__.py",
    "app/jobs/delete_empty_teams.py",
    "app/logs.py",
    "app/main.py",
    "app/models/__init__.py",
    "app/models/base.py",
    "app/models/team.py",
    "app/models/user.py",
    "app/routers/__init__.py",
    "app/routers/health.py",
    "app/routers/teams.py",
    "app/routers/users.py",
    "app/telemetry.py",
    "app/work.py",
    "docker-compose.test.yml",
    "docker-compose.yml",
    "pyproject.toml",
    "scripts/migrate.sh",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/test_config.py",
    "tests/test_database.py",
    "tests/test_database_url.py",
    "tests/test_driver.py",
    "tests/test_fair_queue.py",
    "tests/test_health.py",
    "tests/test_holders.py",
    "tests/test_jobs.py",
    "tests/test_logs.py",
    "tests/test_migrations.py",
    "tests/test_sessions.py",
    "tests/test_teams.py",
    "tests/test_users.py",
]
SOMETIMES: dict[str, Callable[[Variant], bool]] = {
    "pgbouncer.ini": lambda variant: variant.database == "pgbouncer",
    "tests/test_endpoint.py": lambda variant: variant.pooled_endpoint,
    "tests/test_pool.py": lambda variant: variant.pool == "queuepool",
}
EXECUTABLE = ["scripts/migrate.sh"]

# Where a file may say what looks like a template.
MARKS_ALLOWED = {
    ".github/workflows/ci.yml": ["{{", "}}"],
    ANSWERS_FILE: ["cookiecutter"],
    "README.md": ["cookiecutter"],
    "pyproject.toml": ["cookiecutter"],
}


def expected_files(variant: Variant) -> list[str]:
    sometimes = [name for name, when in SOMETIMES.items() if when(variant)]
    return sorted(ALWAYS + sometimes)


def without_answers(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in tree.items() if name != ANSWERS_FILE}


def problems(project: Project, check: Callable[[str, str], list[str]]) -> list[str]:
    return [
        problem
        for name in project.files()
        for problem in check(name, project.read(name))
    ]


# The variants


def test_every_choice_occurs_in_some_variant() -> None:
    for name, values in CHOICES.items():
        used = {str(getattr(variant, name)) for variant in VARIANTS}
        assert used == set(values) - {"auto"}


def test_variants_are_distinct() -> None:
    assert len({variant.id for variant in VARIANTS}) == len(VARIANTS)


def test_variants_hold_every_pair_of_answers() -> None:
    answers: dict[str, set[object]] = {"migrate_service": {True, False}}
    for name, values in CHOICES.items():
        answers[name] = {value for value in values if value != "auto"}
    wanted = {
        frozenset({(first, one), (second, other)})
        for first, second in combinations(answers, 2)
        for one, other in product(answers[first], answers[second])
    }
    assert pairs_of_all(VARIANTS, list(answers)) == wanted


# Every variant


def test_files(project: Project, variant: Variant) -> None:
    assert project.files() == expected_files(variant)


def test_no_empty_folders(project: Project) -> None:
    folders = [path for path in project.path.rglob("*") if path.is_dir()]
    assert not [folder for folder in folders if not any(folder.iterdir())]


def test_nothing_is_left_unrendered(project: Project) -> None:
    def check(name: str, text: str) -> list[str]:
        return checks.unrendered(name, text, MARKS_ALLOWED.get(name, ()))

    assert problems(project, check) == []


def test_every_file_parses(project: Project) -> None:
    assert problems(project, checks.syntax) == []


def test_whitespace(project: Project) -> None:
    found = [
        problem
        for name in project.files()
        for problem in checks.whitespace(name, (project.path / name).read_bytes())
    ]
    assert found == []


def test_names_are_safe_on_windows(project: Project) -> None:
    names = [f"{LONGEST_SLUG}/{name}" for name in project.files()]
    assert checks.windows_names(names, LONGEST_PATH) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_only_scripts_are_executable(project: Project) -> None:
    executable = [name for name, (_, is_set) in project.tree().items() if is_set]
    assert executable == EXECUTABLE


def test_answers_file_renders_the_same_project(
    project: Project, tmp_path: Path
) -> None:
    """So a second render of the same answers is the same, too."""
    answers_file = str(project.path / ANSWERS_FILE)
    path = render(tmp_path, no_input=True, config_file=answers_file)
    assert path.name == project.path.name
    assert tree_of(path) == project.tree()


@pytest.mark.parametrize(
    "variant", each_answer("database", "pool", "driver", "migrate_service"), ids=str
)
def test_rendering_over_itself_changes_nothing(
    project: Project, variant: Variant, tmp_path: Path
) -> None:
    shutil.copytree(project.path, tmp_path / project.path.name)
    path = render(
        tmp_path,
        no_input=True,
        extra_context=variant.answers,
        overwrite_if_exists=True,
    )
    assert tree_of(path) == project.tree()


def test_one_python_runs_everywhere(project: Project, variant: Variant) -> None:
    """The image's, which uv takes on a person's machine and in CI too."""
    images = re.findall(r"FROM python:(\S+)-slim", project.read("Dockerfile"))
    assert set(images) == {variant.python_version}
    assert project.read(".python-version") == f"{variant.python_version}\n"
    assert "python" not in project.read(".github/workflows/ci.yml").lower()


# Each option


def test_facts_of_each_database() -> None:
    """The other tests ask the template's table for them."""
    found = {
        database: {name: facts[name] for name in ON_DATABASE[database].facts}
        for database, facts in FACTS.items()
    }
    assert found == {name: expected.facts for name, expected in ON_DATABASE.items()}


@pytest.mark.parametrize("database", CHOICES["database"])
def test_automatic_pool(bake: Bakery, database: str) -> None:
    automatic = bake(database=database, pool="auto")
    explicit = bake(database=database, pool=ON_DATABASE[database].facts["pool"])
    assert without_answers(automatic.tree()) == without_answers(explicit.tree())


@pytest.mark.parametrize("name", [*CHOICES, *SWITCHES])
def test_every_value_makes_another_project(bake: Bakery, name: str) -> None:
    values = [value for value in CHOICES.get(name, [True, False]) if value != "auto"]
    trees = [without_answers(bake(**{name: value}).tree()) for value in values]
    assert all(trees.count(tree) == 1 for tree in trees)


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_is_used(bake: Bakery, name: str) -> None:
    tree = bake(**{name: "another-answer"}).tree()
    assert without_answers(tree) != without_answers(bake().tree())


# The template's own files


def template_files() -> list[str]:
    ignored = {"__pycache__"}
    return [
        name
        for folder in [TEMPLATE, ROOT / "hooks", ROOT / "templates"]
        for name in (
            f"{folder.name}/{file}"
            for file in files_of(folder)
            if not ignored & set(file.split("/"))
        )
    ]


@pytest.mark.parametrize("name", template_files())
def test_template_file_is_text(name: str) -> None:
    """Cookiecutter copies a file that looks binary without rendering it."""
    assert not is_binary(str(ROOT / name))


@pytest.mark.parametrize("name", template_files())
def test_template_file_has_unix_lines(name: str) -> None:
    assert b"\r" not in (ROOT / name).read_bytes()


def test_template_names_are_safe_on_windows() -> None:
    assert checks.windows_names(template_files(), LONGEST_PATH) == []


def test_questions_have_prompts() -> None:
    prompts: Any = QUESTIONS["__prompts__"]
    public = [name for name in QUESTIONS if not name.startswith("_")]
    assert list(prompts) == public
    for name, values in CHOICES.items():
        assert list(prompts[name]) == ["__prompt__", *values]


# Rendering needs nothing else


WITNESS = '''\
"""Record what a Python process does to the world outside."""

import os
import sys

NETWORK = ("socket.connect", "socket.gethostby", "socket.getaddrinfo", "socket.send")
PROGRAMS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def record(event, arguments):
    if event.startswith((*NETWORK, *PROGRAMS)):
        with open(os.environ["WITNESS_LOG"], "a") as log:
            log.write(f"{event} {arguments!r}\\n")
        if event.startswith(NETWORK):
            raise OSError("there is no network")


sys.addaudithook(record)
'''


def witnessed(code: str, folder: Path) -> list[str]:
    """Run Python code without a PATH and a network, and return what it started."""
    (folder / "sitecustomize.py").write_text(WITNESS)
    log = folder / "witness.log"
    log.touch()
    environment = {
        "COOKIECUTTER_CONFIG": os.devnull,
        "HOME": str(folder),
        "PATH": "",
        "PYTHONPATH": str(folder),
        "TMPDIR": str(folder),
        "WITNESS_LOG": str(log),
    }
    if "SYSTEMROOT" in os.environ:
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=environment, cwd=folder, check=True)
    return log.read_text().splitlines()


def test_rendering_needs_no_network_and_no_program(
    bake: Bakery, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    code = f"""
from cookiecutter.main import cookiecutter
cookiecutter({str(ROOT)!r}, no_input=True, output_dir={str(output)!r})
"""
    events = witnessed(code, tmp_path)
    started = [event for event in events if event.startswith("subprocess.Popen")]
    assert len(started) == len(["pre_gen_project", "post_gen_project"])
    assert all(f"({sys.executable!r}, " in event for event in started)
    assert [event for event in events if event.startswith("socket.")] == []
    assert tree_of(next(output.iterdir())) == bake().tree()


def test_witness_sees_network_and_programs(tmp_path: Path) -> None:
    code = """
import os, socket, subprocess, sys
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError as error:
    assert "no network" in str(error)
subprocess.run([sys.executable, "-c", "import os; os.system('')"], check=True)
"""
    events = [event.split(" ")[0] for event in witnessed(code, tmp_path)]
    assert {"socket.getaddrinfo", "subprocess.Popen", "os.system"} <= set(events)


# The checks find what they look for


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "x = '{{ y }}'"),
        ("a.py", "{% if x %}"),
        ("a.py", "{# note #}"),
        ("a.py", "Cookiecutter"),
        ("{{ a }}.py", ""),
        ("cookiecutter.py", ""),
    ],
)
def test_unrendered_is_found(name: str, text: str) -> None:
    assert checks.unrendered(name, text)


def test_allowed_marks_are_not_reported() -> None:
    assert checks.unrendered("ci.yml", "${{ x }}", ["{{", "}}"]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "def"),
        ("a.toml", "a = "),
        ("a.toml", "a = 1\na = 2"),
        ("a.yml", "a: [1"),
        ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2\n"),
        ("a.ini", "a = 1"),
        ("a.ini", "[a]\nb = 1\n[a]\n"),
        ("a.json", "{'a': 1}"),
    ],
)
def test_broken_syntax_is_found(name: str, text: str) -> None:
    assert checks.syntax(name, text)


@pytest.mark.parametrize(
    "content",
    [
        b"a\r\n",
        b"a",
        b"a\n\n",
        b"\na\n",
        b"a \n",
        b"\ta\n",
        b"a\n\n\n\nb\n",
        b"\n",
    ],
)
def test_bad_whitespace_is_found(content: bytes) -> None:
    assert checks.whitespace("a", content)


@pytest.mark.parametrize("content", [b"", b"a\n", b"a\n\n\nb\n"])
def test_good_whitespace_is_not_reported(content: bytes) -> None:
    assert checks.whitespace("a", content) == []


@pytest.mark.parametrize(
    "names",
    [
        ["a:b"],
        ["con"],
        ["a/NUL.txt"],
        ["a./b"],
        ["a "],
        ["README", "readme"],
        ["a" * 21],
        ["a\\b"],
    ],
)
def test_names_that_windows_refuses_are_found(names: list[str]) -> None:
    assert checks.windows_names(names, 20)


def test_names_that_windows_takes_are_not_reported() -> None:
    assert checks.windows_names(["a/b", "console.py", "{% if a == 'b' %}"], 20) == []
