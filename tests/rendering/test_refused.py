"""Cookiecutter refuses wrong answers, with the command that is right.

Each rule of the hooks, whatever the other answers are.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException

from lab.projects import literal, render, tree_of
from lab.variants import CHOICES, PUBLIC, ROOT, SWITCHES
from tests.rendering.loaded_hooks import DEFAULTS, HOOKS, load, replay, snapshot

# The corrected command

TABLES: dict[str, Any] = {name: DEFAULTS[name] for name in ("_databases", "_drivers")}


def corrected(pre: Any, answers: Mapping[str, object]) -> list[str]:
    """Return the words of the corrected command."""
    answers = {**TABLES, **answers}
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
        "kubernetes=false",
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
    good: dict[str, object] = {**TABLES}
    for word in words:
        name, value = word.split("=", 1)
        good[name] = value == "true" if name in SWITCHES else value
    assert list(good) == [*TABLES, *PUBLIC]
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
    "kubernetes": ("yes", "'yes'", "must be true or false", "true"),
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
        kubernetes="x",
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
    assert (
        read
        == {
            "pre_gen_project": [answers, *map(rows, TABLES.values())],
            "post_gen_project": [answers],
        }[name]
    )


def rows(table: dict[str, object]) -> list[list[object]]:
    return [list(row) for row in table.items()]


def loads_into(read: list[object]) -> Any:
    """Return a json.loads that also keeps what it read."""
    loads = json.loads

    def keep(text: str) -> object:
        value = loads(text)
        read.append(value)
        return value

    return keep
