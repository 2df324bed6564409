"""The hooks refuse bad answers, and say what to do next."""

import ast
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException
from cookiecutter.utils import create_env_with_context

from environments.answers import complete
from lab.projects import Bakery, Project, literal, render, tree_of
from lab.variants import (
    CHOICES,
    PUBLIC,
    QUESTIONS,
    ROOT,
    SWITCHES,
    TEXTS,
    VARIANTS,
    Variant,
)

HOOKS = ["pre_gen_project", "post_gen_project"]
DEFAULTS: dict[str, object] = {
    "project_name": "My Service",
    "project_slug": "my-service",
    "description": "A FastAPI service on PostgreSQL.",
    "full_name": "Your Name",
    "email": "you@example.com",
    "database": "postgres",
    "pool": "auto",
    "driver": "asyncpg",
    "migrate_service": True,
    "postgres_version": "18",
    "python_version": "3.14",
    "__derived_from": "postgres, auto, 18",
}


def load(name: str, folder: Path, answers: Mapping[str, object]) -> ModuleType:
    """Render a hook as Cookiecutter does, and import it."""
    context = {"cookiecutter": dict(answers)}
    source = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    rendered = create_env_with_context(context).from_string(source).render(**context)
    path = folder / f"{name}.py"
    path.write_text(rendered, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pre(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the pre_gen_project hook as a module."""
    return load("pre_gen_project", tmp_path_factory.mktemp("hooks"), DEFAULTS)


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the post_gen_project hook as a module."""
    return load("post_gen_project", tmp_path_factory.mktemp("hooks"), DEFAULTS)


def problem(pre: Any, **answers: object) -> Any:
    """Return the only problem of the answers."""
    found = pre.check({**DEFAULTS, **answers})
    assert len(found) == 1
    return found[0]


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
    assert pre.CHOICES == CHOICES
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
    assert names <= pre.DEPENDENCIES


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
    assert found == [*PUBLIC, "__derived_from"]


# The corrected command


def corrected(pre: Any, answers: Mapping[str, object]) -> list[str]:
    """Return the words of the corrected command."""
    return shlex.split(pre.corrected_command(answers, pre.check(answers)))


def test_command_has_every_answer(pre: Any) -> None:
    answers = {**DEFAULTS, "database": "bogus", "_template": "gh:someone/else"}
    assert corrected(pre, answers) == [
        "cookiecutter",
        "--no-input",
        "gh:someone/else",
        "project_name=My Service",
        "project_slug=my-service",
        "description=A FastAPI service on PostgreSQL.",
        "full_name=Your Name",
        "email=you@example.com",
        "database=postgres",
        "pool=auto",
        "driver=asyncpg",
        "migrate_service=true",
        "postgres_version=18",
        "python_version=3.14",
    ]


def test_command_has_a_template_without_cookiecutter(pre: Any) -> None:
    assert corrected(pre, {})[2] == "gh:OWNER/cookiecutter-fastapi-postgres"


def test_command_runs_where_cookiecutter_is_not_on_the_path(
    pre: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert corrected(pre, {})[:4] == [
        *(sys.executable, "-m", "cookiecutter"),
        "--no-input",
    ]


def test_command_keeps_the_version_of_the_template(pre: Any) -> None:
    words = corrected(pre, {"_checkout": "v1"})
    assert words[3:5] == ["--checkout", "v1"]


def test_command_keeps_the_output_folder(
    pre: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", "/here")
    words = corrected(pre, {"_output_dir": "/some where"})
    assert words[3:5] == ["--output-dir", "/some where"]
    assert "--output-dir" not in corrected(pre, {"_output_dir": "/here"})


@pytest.mark.parametrize(
    "answers",
    [
        {},
        dict.fromkeys(PUBLIC, "\x07\ud800"),
        dict.fromkeys(PUBLIC),
        {name: ["x"] for name in PUBLIC},
        {**DEFAULTS, "project_slug": "1" * 80},
        {**DEFAULTS, "project_slug": "Pydantic Settings"},
        {**DEFAULTS, "project_slug": "a" * 49 + "-b"},
    ],
)
def test_corrected_answers_are_good(pre: Any, answers: dict[str, object]) -> None:
    words = [word for word in corrected(pre, answers) if "=" in word]
    good: dict[str, object] = {}
    for word in words:
        name, value = word.split("=", 1)
        good[name] = value == "true" if name in SWITCHES else value
    assert list(good) == PUBLIC
    good["__derived_from"] = "{database}, {pool}, {postgres_version}".format(**good)
    assert pre.check(good) == []


def test_report_is_one_block_in_ascii(pre: Any) -> None:
    answers = {**DEFAULTS, "project_slug": "Größe\x1b[1m", "pool": "x" * 999}
    text = pre.report(answers, pre.check(answers))
    lines = text.split("\n")
    assert lines[0] == lines[-1] == "-" * 72
    assert "  given: 'Gr\\xf6\\xdfe\\x1b[1m'" in lines
    assert "  use:   groe-1m" in lines
    assert max(len(line) for line in lines if "=" not in line) < 250
    assert text.isascii()


# Cookiecutter refuses


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return an output folder that has something in it and beside it."""
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    (tmp_path / "beside").mkdir()
    return folder


def snapshot(folder: Path) -> list[tuple[str, bool]]:
    """Return everything below a folder, empty folders included."""
    return sorted((str(path), path.is_dir()) for path in folder.rglob("*"))


def replay(output: Path, **changes: object) -> str:
    """Render the defaults, and return the replay file with some answers changed."""
    folder = output.parent / "replay"
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"replay_dir": str(folder)}))
    render(folder, no_input=True, config_file=str(config))
    file = folder / f"{ROOT.name}.json"
    context = json.loads(file.read_text())
    context["cookiecutter"].update(changes)
    file.write_text(json.dumps(context))
    return str(file)


END_TO_END: dict[str, tuple[dict[str, object], str, str, str]] = {
    "project_slug": (
        {"project_slug": "My App"},
        "'My App'",
        "lower-case letters and digits",
        "my-app",
    ),
    "project_slug-reserved": (
        {"project_slug": "sqlmodel"},
        "'sqlmodel'",
        "a package that the project installs",
        "sqlmodel-service",
    ),
    "project_name": (
        {"project_name": " ", "project_slug": "a"},
        "' '",
        "blank",
        "My Service",
    ),
    "description": ({"description": "a\x07"}, r"'a\x07'", "it has U+0007", "a"),
    "full_name": ({"full_name": "\u202ea"}, r"'\u202ea'", "it has U+202E", "a"),
    "email": ({"email": "a\ufeff"}, r"'a\ufeff'", "it has U+FEFF", "a"),
}


@pytest.mark.parametrize("case", END_TO_END)
def test_bad_answer_is_refused(
    case: str, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers, given, rule, suggestion = END_TO_END[case]
    before = snapshot(output.parent)
    with pytest.raises(FailedHookException):
        render(output, no_input=True, extra_context=answers)
    assert_refused(
        capfd.readouterr().err, case.split("-", maxsplit=1)[0], given, rule, suggestion
    )
    assert snapshot(output.parent) == before


REPLAYED: dict[str, tuple[object, str, str, str]] = {
    **{
        name: ("bogus", "'bogus'", "must be one of: " + ", ".join(values), values[0])
        for name, values in CHOICES.items()
    },
    "migrate_service": ("no", "'no'", "must be true or false", "false"),
    "project_name": (7, "7", "must be text", "My Service"),
}


@pytest.mark.parametrize("name", REPLAYED)
def test_bad_answer_in_a_replay_file_is_refused(
    name: str, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    value, given, rule, suggestion = REPLAYED[name]
    file = replay(output, **{name: value})
    before = snapshot(output)
    with pytest.raises(FailedHookException):
        render(output, replay=file)
    assert_refused(capfd.readouterr().err, name, given, rule, suggestion)
    assert snapshot(output) == before


def test_stale_derived_values_are_refused(
    output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FailedHookException):
        render(output, replay=replay(output, database="neon"))
    error = capfd.readouterr().err
    assert "__derived_from\n  given: 'postgres, auto, 18'\n" in error
    assert "give the answers as key=value or with --config-file" in error
    assert "database=neon" in command_in(error)


def test_unchanged_replay_file_is_accepted(output: Path) -> None:
    file = replay(output)
    path = render(output, replay=file)
    assert tree_of(path) == tree_of(output.parent / "replay" / "my-service")


def assert_refused(
    error: str, variable: str, given: str, rule: str, suggestion: str
) -> None:
    """Check that the report names the variable, the value, the rule and the way out."""
    lines = error.split("\n")
    start = lines.index(variable)
    assert lines[start + 1] == f"  given: {given}"
    assert lines[start + 2].startswith("  rule:  ")
    assert rule in lines[start + 2]
    assert lines[start + 3] == f"  use:   {suggestion}"
    assert f"{variable}={suggestion}" in shlex.split(command_in(error))


def command_in(error: str) -> str:
    """Return the corrected command of a report."""
    text = error.split("ready to run:\n\n")[1]
    return text.split("\n\nWhat Cookiecutter prints below")[0]


def test_all_errors_are_reported_at_once(
    output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = replay(
        output,
        project_name="",
        project_slug="My App",
        description="\x07",
        full_name=None,
        email=1,
        database="x",
        pool="x",
        driver="x",
        migrate_service="x",
        postgres_version="x",
        python_version="x",
    )
    with pytest.raises(FailedHookException):
        render(output, replay=file)
    error = capfd.readouterr().err
    lines = error.split("\n")
    positions = [lines.index(name) for name in [*PUBLIC, "__derived_from"]]
    assert positions == sorted(positions)
    assert error.count("ready to run:") == 1


FREE_TEXT = """it's "quoted" \\ {{ x }} {% y %} {# z #} $HOME `id` #
Größe \N{ROCKET}"""


@pytest.mark.skipif(os.name == "nt", reason="The command is quoted for a POSIX shell")
@pytest.mark.parametrize(
    "answers",
    [
        {"project_slug": "My App"},
        {"project_slug": "My App", "project_name": literal(FREE_TEXT)},
        {"project_slug": "uvicorn", "description": literal(FREE_TEXT)},
        {"project_slug": "x", "full_name": literal(FREE_TEXT) + "\x07"},
        {"project_slug": "x y", "database": "neon", "migrate_service": "no"},
    ],
)
def test_corrected_command_succeeds(
    answers: dict[str, object],
    output: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(FailedHookException):
        render(output, no_input=True, extra_context=answers)
    command = command_in(capfd.readouterr().err)
    run_in_shell(command, tmp_path)
    (project,) = [path for path in output.iterdir() if path.is_dir()]
    stored = yaml.safe_load((project / ".cookiecutter.yaml").read_text())
    for name, value in answers.items():
        if name == "migrate_service":
            assert stored["default_context"][name] is False
        elif name != "project_slug":
            expected = str(value).replace("\x07", "")
            assert stored["default_context"][name] == expected


def run_in_shell(command: str, home: Path) -> None:
    """Run a command as a person would paste it."""
    environment = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(["sh", "-c", command], env=environment, cwd=home, check=True)


INJECTIONS = [
    "''' + str(open('injected', 'w')) + '''",
    '""" + str(open("injected", "w")) + """',
    "'''); open('injected', 'w'); ('''",
    '"""); open("injected", "w"); ("""',
    "\\''' ; open('injected', 'w') #",
    '\\"""); open("injected", "w") #',
    "\n''')\nopen('injected', 'w')\n",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_answers_are_data(text: str, output: Path) -> None:
    answers = {"project_name": text, "project_slug": "x", "description": text + "\\"}
    path = render(output, no_input=True, extra_context=answers)
    assert not list(output.parent.rglob("injected"))
    assert not (ROOT / "injected").exists()
    arguments = (path / ".cookiecutter.yaml").read_text()
    assert yaml.safe_load(arguments)["default_context"]["project_name"] == text


@pytest.mark.parametrize(
    "text", [*INJECTIONS, FREE_TEXT, '"', '""', '"""', "\\", "<&'>"]
)
@pytest.mark.parametrize("name", HOOKS)
def test_hook_reads_the_answers_unchanged(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {**DEFAULTS, "project_name": text, "zz_last": text}
    module: Any = load(name, tmp_path, answers)
    read: list[object] = []
    monkeypatch.setattr(module.json, "loads", loads_into(read))
    module.main()
    assert read == [answers]


def loads_into(read: list[object]) -> Any:
    """Return a json.loads that also keeps what it read."""
    loads = json.loads

    def keep(text: str) -> object:
        value = loads(text)
        read.append(value)
        return value

    return keep


# Nothing is left behind


# Every one leads to the test's own folder or below it, should it not be refused.
PATHS = [
    *("../x", "../x/y", "a/b", "a/b/c", "a/./b", "./a/b/", "..", "../output", "a..b"),
    *(
        "a\nb/c",
        "a/..b",
        "...",
        "....",
        "x/..",
        "x/../..",
        "./x/..",
        "x/../mine",
        "x/../",
    ),
    *("../x/../output", "a/b/../c", ".../..", ".../../mine", "../.../../beside"),
    *("..\\x", "..\\x\\..", "x\\..\\mine", "a\\b", "../beside/..", "../missing/.."),
]


@pytest.mark.parametrize("slug", [*PATHS, "/.../..", "//..", "../../.."], ids=ascii)
def test_path_is_written_as_one_name(pre: Any, slug: str) -> None:
    """A folder of that name is new. The report shows the path that was given."""
    name = complete({"project_slug": slug})["project_slug"]
    assert not any(mark in name for mark in ("/", "\\", ".."))
    assert pre.as_given(name) == slug
    assert problem(pre, project_slug=name) == problem(pre, project_slug=slug)


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("slug", PATHS, ids=ascii)
def test_path_is_refused(
    slug: str, overwrite: bool, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(output.parent)
    with pytest.raises(FailedHookException):
        render_slug(output, slug, overwrite_if_exists=overwrite)
    assert snapshot(output.parent) == before
    report = capfd.readouterr().err
    assert report.startswith("-" * 72)
    assert f"project_slug\n  given: {slug!a}\n  rule:  must be lower-case" in report


def render_slug(output: Path, slug: str, **options: Any) -> None:
    """Render with a slug that is refused."""
    answers = {"project_slug": slug}
    render(output, no_input=True, extra_context=answers, **options)


@pytest.mark.parametrize(
    "slug", ["a b", "-x", "CON", "", " ", ".", "x" * 60, "~", "$HOME", "%2F"], ids=ascii
)
def test_nothing_is_left_behind(slug: str, output: Path) -> None:
    before = snapshot(output.parent)
    with pytest.raises((FailedHookException, OutputDirExistsException)):
        render_slug(output, slug)
    assert snapshot(output.parent) == before


@pytest.mark.parametrize("slug", ["../x", "a b", "-x", "CON", "a/b/c", "../x/y"])
def test_nothing_is_left_behind_in_an_empty_output_folder(
    slug: str, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    output.mkdir()
    with pytest.raises(FailedHookException):
        render_slug(output, slug)
    assert snapshot(tmp_path) == [(str(output), True)]


@pytest.mark.parametrize(
    "slug", ["..", "../output", "../output/mine/..", "x/../../output"]
)
def test_missing_output_folder_deletes_nothing(slug: str, output: Path) -> None:
    """From a folder that is not there yet, the slug would lead to one that is."""
    before = snapshot(output.parent)
    missing = output.parent / "missing"
    with pytest.raises(FailedHookException):
        render_slug(missing, slug)
    assert snapshot(output.parent) == sorted([*before, (str(missing), True)])


@pytest.mark.parametrize("slug", ["elsewhere/x", "new/../beside", "new/.."])
def test_absolute_slug_leaves_nothing_behind(slug: str, output: Path) -> None:
    before = snapshot(output.parent)
    with pytest.raises(FailedHookException):
        render_slug(output, f"{output.parent}/{slug}")
    assert snapshot(output.parent) == before


@pytest.mark.parametrize("slug", ["a b", "a/b/c", "../beside", "", ".", ".."])
@pytest.mark.parametrize("empty", [True, False])
def test_existing_folder_keeps_everything(slug: str, empty: bool, output: Path) -> None:
    folder = output / slug
    folder.mkdir(parents=True, exist_ok=True)
    if not empty:
        (folder / "mine").write_text("mine")
    before = snapshot(output.parent)
    with pytest.raises(FailedHookException):
        render_slug(output, slug, overwrite_if_exists=True)
    assert snapshot(output.parent) == before
    assert (output / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    "slug",
    ["x/..", "./x/..", ".../..", "x/../mine", "a/b/../..", "../x/../output", ".."],
)
def test_replay_file_that_leads_back_deletes_nothing(slug: str, output: Path) -> None:
    """Cookiecutter would delete the folder, and all that is in it, after the hook."""
    (output / "mine").unlink()
    (output / "mine").mkdir()
    (output / "mine" / "file").write_text("mine")
    file = replay(output, project_slug=slug)
    before = snapshot(output.parent)
    with pytest.raises(KeyError, match="project_slug must be one name"):
        render(output, replay=file, overwrite_if_exists=slug == "..")
    assert set(before) <= set(snapshot(output.parent))


# The closing message


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_closing_message(post: Any, variant: Variant) -> None:
    message = post.closing_message({**DEFAULTS, **variant.answers})
    lines = [line.strip() for line in message.split("\n")]
    assert message.isascii()
    assert len(lines) < 20
    assert lines.index("cd my-service") < lines.index("cp .env.example .env")
    assert ("NEON_" in message) == (variant.database == "neon")
    assert ("docker compose up --build" in lines) == variant.migrate_service
    manual = [
        "docker compose build",
        "docker compose run --rm api alembic upgrade head",
        "docker compose up",
    ]
    assert all((line in lines) != variant.migrate_service for line in manual)
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
