"""The rules of the hooks: good answers, bad answers, and the closing message."""

import ast
import os
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from comparison.answers import complete
from lab.projects import Bakery, Project
from lab.variants import (
    CHOICES,
    FACTS,
    PUBLIC,
    QUESTIONS,
    ROOT,
    SWITCHES,
    TEXTS,
    VARIANTS,
    Variant,
)
from tests.rendering.loaded_hooks import DEFAULTS, HOOKS, load, problem

# The hooks as programs


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_python_unrendered(name: str) -> None:
    ast.parse((ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", HOOKS)
def test_hook_needs_the_standard_library_only(name: str) -> None:
    tree = ast.parse((ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("name", HOOKS)
def test_hook_imports_little_for_good_answers(name: str, tmp_path: Path) -> None:
    """It runs at every render."""
    load(name, tmp_path, DEFAULTS)
    timed = [
        sys.executable,
        "-I",
        "-S",
        "-X",
        "importtime",
        str(tmp_path / f"{name}.py"),
    ]
    result = subprocess.run(timed, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "json" in imported
    slow = {"difflib", "inspect", "pathlib", "shlex", "typing", "unicodedata"}
    assert not slow & imported


def test_rules_match_the_questions(pre: Any) -> None:
    texts = {name: QUESTIONS[name] for name in TEXTS if name != "project_slug"}
    assert texts == pre.TEXTS
    tables = {name: [*QUESTIONS[table]] for name, table in pre.TABLES.items()}
    assert tables | pre.CHOICES == CHOICES
    assert {name: QUESTIONS[name] for name in SWITCHES} == pre.SWITCHES
    assert pre.ORDER == PUBLIC


def test_defaults_match_the_questions(bake: Bakery) -> None:
    answers = bake().answers
    assert {name: answers[name] for name in DEFAULTS} == DEFAULTS


# Good answers


def test_defaults_are_good(pre: Any) -> None:
    assert pre.check(DEFAULTS) == []


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_is_good(pre: Any, name: str) -> None:
    for value in CHOICES[name]:
        answers = {**DEFAULTS, name: value}
        parts = [answers["database"], answers["pool"], answers["postgres_version"]]
        answers["__derived_from"] = ", ".join(str(part) for part in parts)
        assert pre.check(answers) == []


@pytest.mark.parametrize(
    "slug", ["a", "a1", "my-service", "my_service", "a-1_b", "a" * 50, "app", "tests"]
)
def test_slug_is_good(pre: Any, slug: str) -> None:
    assert pre.check({**DEFAULTS, "project_slug": slug}) == []


@pytest.mark.parametrize("name", ["project_name", "description", "full_name", "email"])
@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "\"'\\",
        "Größe 你好",
        "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}",
        "no",
        "{{ x }}",
        "\ue000\N{ROCKET}\N{NO-BREAK SPACE}",
    ],
)
def test_text_is_good(pre: Any, name: str, text: str) -> None:
    assert pre.check({**DEFAULTS, name: text}) == []


def test_empty_text_is_good_except_for_the_name(pre: Any) -> None:
    empty = {"description": "", "full_name": "", "email": ""}
    assert pre.check({**DEFAULTS, **empty}) == []


DERIVED_SLUGS = {
    "2024": "service-2024",
    "3D Shop": "service-3d-shop",
    "Shop 3D": "shop-3d",
    "9" * 60: "service-" + "9" * 42,
    "Größe": "grosse",
    "...": "my-service",
    "\N{ROCKET}": "my-service",
}


@pytest.mark.parametrize("name", DERIVED_SLUGS)
def test_name_derives_a_good_slug(pre: Any, name: str) -> None:
    slug = complete({"project_name": name})["project_slug"]
    assert slug == DERIVED_SLUGS[name]
    assert pre.check({**DEFAULTS, "project_slug": slug}) == []


# Bad answers, one rule at a time

BAD_SLUGS = {
    "My App": "my-app",
    "": "my-service",
    " ": "my-service",
    "1st": "service-1st",
    "-x": "x",
    "x-": "x",
    "a--b": "a-b",
    "a.b": "a-b",
    "a/b/c": "a-b-c",
    "../x": "x",
    "~/x": "x",
    "a b": "a-b",
    "a\n": "a",
    "Größe": "groe",
    "\N{ROCKET}": "my-service",
    "\u0661": "my-service",
}


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_slug_must_be_words(pre: Any, slug: str) -> None:
    found = problem(pre, project_slug=slug)
    assert found.variable == "project_slug"
    assert found.value == slug
    assert "lower-case letters and digits" in found.rule
    assert found.suggestion == BAD_SLUGS[slug]


def test_slug_must_not_be_long(pre: Any) -> None:
    found = problem(pre, project_slug="abcd-" * 10 + "a")
    assert found.rule == "must be at most 50 characters long; this one has 51"
    assert found.suggestion == ("abcd-" * 10)[:-1]


@pytest.mark.parametrize("slug", ["con", "prn", "aux", "nul", "com1", "com9", "lpt1"])
def test_slug_must_not_be_a_windows_name(pre: Any, slug: str) -> None:
    found = problem(pre, project_slug=slug)
    assert "Windows" in found.rule
    assert found.suggestion == f"{slug}-service"


@pytest.mark.parametrize(
    "slug", ["fastapi", "alembic", "pydantic-settings", "pydantic_settings", "click"]
)
def test_slug_must_not_be_a_dependency(pre: Any, slug: str) -> None:
    found = problem(pre, project_slug=slug)
    assert "package that the project installs" in found.rule
    assert found.suggestion == slug.replace("_", "-") + "-service"


def test_slug_can_break_several_rules(pre: Any) -> None:
    rules = [found.rule for found in pre.check({**DEFAULTS, "project_slug": "CON"})]
    assert len(rules) == len(["words", "Windows"])


def test_project_name_gives_the_slug(pre: Any) -> None:
    found = problem(pre, project_slug="...", project_name="Order Book")
    assert found.suggestion == "order-book"


def test_every_direct_dependency_is_reserved(pre: Any, project: Project) -> None:
    settings = tomllib.loads(project.read("pyproject.toml"))
    groups = settings.get("dependency-groups", {}).values()
    requirements = [*settings["project"]["dependencies"], *chain(*groups)]
    names = {pre.re.split("[^a-z0-9-]", line.lower())[0] for line in requirements}
    assert names <= pre.reserved(DEFAULTS)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["bogus", "", None, 18, 3.13, True, ["a"], {}])
def test_choice_must_be_listed(pre: Any, name: str, value: object) -> None:
    found = pre.check({**DEFAULTS, name: value})[0]
    assert found.variable == name
    assert found.value == value
    assert found.rule == "must be one of: " + ", ".join(CHOICES[name])
    assert found.suggestion in CHOICES[name]


@pytest.mark.parametrize(
    ("name", "value", "suggestion"),
    [
        ("database", "postgresql", "postgres"),
        ("database", "Neon", "neon"),
        ("database", "pg-bouncer", "pgbouncer"),
        ("driver", "psycopg3", "psycopg"),
        ("postgres_version", 17, "17"),
        ("python_version", 3.12, "3.12"),
        ("pool", "?", "auto"),
    ],
)
def test_nearest_choice_is_suggested(
    pre: Any, name: str, value: object, suggestion: str
) -> None:
    assert pre.check({**DEFAULTS, name: value})[0].suggestion == suggestion


@pytest.mark.parametrize(
    ("value", "suggestion"),
    [
        ("no", False),
        ("False", False),
        (0, False),
        ("yes", True),
        (1, True),
        (None, True),
    ],
)
def test_switch_must_be_boolean(pre: Any, value: object, suggestion: bool) -> None:
    found = problem(pre, migrate_service=value)
    assert found.rule == "must be true or false, not text or a number"
    assert found.suggestion is suggestion


@pytest.mark.parametrize("name", ["", " ", "\n \u3000"])
def test_project_name_must_not_be_blank(pre: Any, name: str) -> None:
    found = problem(pre, project_name=name)
    assert found.rule == "must not be blank"
    assert found.suggestion == "My Service"


REFUSED = [
    "\x00",
    "\x07",
    "\t",
    "\r",
    "\x1b",
    "\x7f",
    "\x85",
    "\xad",
    "\u200b",
    "\u200e",
    "\u2028",
    "\u2029",
    "\u202e",
    "\ufeff",
    "\ud800",
    "\udcff",
    "\ufdd0",
    "\ufdef",
    "\ufffe",
    "\uffff",
    "\U0001fffe",
    "\U0010ffff",
    "\U000e0041",
]


@pytest.mark.parametrize("name", ["project_name", "description", "full_name", "email"])
@pytest.mark.parametrize("character", REFUSED, ids=ascii)
def test_text_must_not_have(pre: Any, name: str, character: str) -> None:
    found = problem(pre, **{name: f"a{character}b"})
    assert found.variable == name
    assert "must not contain control or invisible characters" in found.rule
    assert f"U+{ord(character):04X}" in found.rule
    assert found.suggestion == "ab"


def test_all_refused_characters_are_named(pre: Any) -> None:
    found = problem(pre, project_name="\x07\u2028\x07")
    assert found.rule.endswith("it has U+0007, U+2028")
    assert found.suggestion == "My Service"


@pytest.mark.parametrize(
    "name", ["project_name", "project_slug", "description", "full_name", "email"]
)
@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["a"], {"a": "b"}])
def test_text_must_be_text(pre: Any, name: str, value: object) -> None:
    found = problem(pre, **{name: value})
    assert found.variable == name
    assert found.rule == "must be text"


@pytest.mark.parametrize("name", DEFAULTS)
def test_missing_answer_is_a_problem(pre: Any, name: str) -> None:
    answers = {key: value for key, value in DEFAULTS.items() if key != name}
    assert name in [found.variable for found in pre.check(answers)]


@pytest.mark.parametrize("value", ["neon, auto, 18", "", None])
def test_derived_values_must_match(pre: Any, value: object) -> None:
    found = problem(pre, __derived_from=value)
    assert found.variable == "__derived_from"
    assert "replay file" in found.rule
    assert "--config-file" in found.suggestion


def test_all_problems_are_reported(pre: Any) -> None:
    found = [found.variable for found in pre.check({})]
    answerable = [name for name in PUBLIC if name not in {"database", "driver"}]
    assert found == [*answerable, "_databases", "_drivers", "__derived_from"]


# The closing message


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_closing_message(post: Any, variant: Variant) -> None:
    message = post.closing_message({**DEFAULTS, **variant.answers})
    lines = [line.strip() for line in message.split("\n")]
    assert message.isascii()
    assert len(lines) < 20
    assert lines.index("cd my-service") < lines.index("cp .env.example .env")
    for variable in FACTS[variant.database]["fill_in"]:
        assert variable in message
    assert ("docker compose up --build" in lines) == variant.migrate_service
    manual = [
        "docker compose build",
        "docker compose run --rm api alembic upgrade head",
        "docker compose up",
    ]
    assert all((line in lines) != variant.migrate_service for line in manual)
    assert "Without Docker, it starts with: uv run -m app.dev" in lines
    assert lines.index("uv sync") < lines.index("uv run pytest")


def test_closing_message_names_settings_that_exist(
    post: Any, project: Project, variant: Variant
) -> None:
    message = post.closing_message({**DEFAULTS, **variant.answers})
    settings = {word for word in message.split() if word.startswith("NEON_")}
    assert all(f"{name}=" in project.read(".env.example") for name in settings)


def test_closing_message_is_printed(
    bake: Bakery, post: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    project = bake.fresh()
    assert capfd.readouterr().out == post.closing_message(project.answers) + "\n"


@pytest.mark.skipif(os.name == "nt", reason="It closes a POSIX pipe")
def test_closed_output_does_not_lose_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    load("post_gen_project", folder, DEFAULTS)
    reader, writer = os.pipe()
    os.close(reader)
    hook = [sys.executable, str(folder / "post_gen_project.py")]
    result = subprocess.run(hook, stdout=writer, check=False)
    os.close(writer)
    assert result.returncode == 0
