"""Wrong arguments and wrong answers files get one clear line."""

import subprocess
from pathlib import Path

import pytest
import yaml

from comparison import UsageError
from comparison.sides import PRESETS
from comparison.yaml_text import read_yaml
from lab.projects import Bakery
from lab.variants import CHOICES
from tests.comparison.comparing import compare, compare_apart


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs two sides, A and B, but was given nothing"),
        (["local-postgres"], "needs two sides, A and B, but was given local-postgres"),
        (["a", "b", "c"], "needs two sides"),
        (["prodution-neon", "a=b"], "did you mean production-neon?"),
        (["tests", "local-postgres"], "tests: has no .cookiecutter.yaml"),
        (["README.md", "local-postgres"], "README.md: is not YAML"),
        (["pyproject.toml", "local-postgres"], "pyproject.toml: "),
        (
            ["databse=neon", "a=b"],
            "databse: is no question of the template; did you mean",
        ),
        (
            ["database=neno", "a=b"],
            f"must be one of {', '.join(CHOICES['database'])}; did you mean neon?",
        ),
        (["migrate_service=maybe", "a=b"], "must be true or false"),
        (["project_slug=a/b", "a=b"], "project_slug: must be lower-case"),
        (["description={{ x }}", "a=b"], "description: cannot be rendered"),
        (["description={% x", "a=b"], "description: cannot be rendered"),
        (["description={{ 1/0 }}", "a=b"], "cannot be rendered: division by zero"),
        (["description={{ 'a' + 1 }}", "a=b"], "description: cannot be rendered"),
        (["driver=asyncpg,driver=psycopg", "a=b"], "driver: is given more than once"),
        (["x" * 300, "a=b"], "File name too long"),
        (["local-postgres,pool", "a=b"], "did you mean local-postgres?"),
        (["", "a=b"], "an empty name"),
        (["local-postgres", "production-neon", "--bogus"], "--bogus"),
        (
            ["local-postgres", "production-neon", "--html", "no/x"],
            "no/x: cannot be written",
        ),
        (["local-postgres", "production-neon", "--html"], "expected one argument"),
        (["local-postgres", "production-neon", "--html", ""], "an empty name: "),
        (
            ["local-postgres", "production-neon", "--svg", "."],
            ".: cannot be written: Is a",
        ),
        (["local-postgres", "a=b", "--json", "--table"], "not allowed with"),
        (["--check", "x", "--table"], "not allowed with argument --check"),
        (["local-postgres", "database=neon", "pool=nullpool"], "a comma joins answers"),
        (["--check", "x", "local-postgres"], "--check takes one file"),
        (["--check", "", "local-postgres"], "--check takes one file"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_argument_gets_one_clear_line(arguments: list[str], message: str) -> None:
    completed = compare(*arguments)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1
    assert completed.stderr.startswith("compare.py: ")
    assert message in completed.stderr


def test_help_names_the_presets() -> None:
    printed = " ".join(compare_apart("--help").stdout.split())
    assert all(name in printed for name in PRESETS)


def checked(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Check the answers file that holds a text."""
    (folder / "answers.yaml").write_text(text)
    return compare("--check", "answers.yaml", folder=folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{description: '{{ 1/0 }}'}", "description: cannot be rendered: division by"),
        ("{description: '{{ \"a\" + 1 }}'}", "description: cannot be rendered: can"),
        ("{description: 2026-02-30}", "is not YAML: day is out of range for month"),
        ("{description: !!bool x}", "is not YAML: "),
        ("[" * 1200, "is not YAML: maximum recursion depth exceeded"),
        (
            "{driver: asyncpg, <<: {}, driver: asyncpg}",
            "driver: is given more than once, again in line 1",
        ),
        ("{<<: {pool: always}}", "pool: is 'always', but must be one of"),
        ("{<<: neon}", "is not YAML: "),
    ],
    ids=[
        *("zero-division", "type-error", "no-date", "no-switch", "deep"),
        *("repeated-key", "bad-merged-answer", "bad-merge"),
    ],
)
def test_check_gets_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    completed = checked(tmp_path, f"default_context: {text}")
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1
    assert completed.stderr.startswith(f"answers.yaml: {message}")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("{database: neon}", "1 answer"),
        ("{<<: {database: neon}, driver: psycopg}", "2 answers"),
        ("{<<: {database: neon}, database: postgres}", "1 answer"),
        ("{<<: [{database: neon}, {driver: psycopg}]}", "2 answers"),
    ],
    ids=["one", "merged", "merged-and-replaced", "merged-twice"],
)
def test_check_takes_what_yaml_can_say(tmp_path: Path, text: str, number: str) -> None:
    completed = checked(tmp_path, f"default_context: {text}")
    taken = f"answers.yaml: {number}, and Cookiecutter takes each of them.\n"
    assert (completed.returncode, completed.stdout) == (0, taken)


def test_check_of_a_folder_names_its_file(bake: Bakery) -> None:
    completed = compare("--check", bake().path)
    assert completed.returncode == 1
    assert completed.stderr.endswith(": is a folder: give its .cookiecutter.yaml\n")


@pytest.mark.parametrize(
    "text", ["yes", "y", "017", "1:30", "1e3", "2026-11-01", "~", "''", "{<<: {b: 1}}"]
)
def test_yaml_is_read_as_cookiecutter_does(text: str) -> None:
    assert read_yaml(f"a: {text}") == yaml.safe_load(f"a: {text}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 1\n", 2),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", 4),
        ("- {a: 1,\n  a: 2}\n", 2),
        ("a: 1\n'a': 2\n", 2),
    ],
    ids=["top", "nested", "flow", "quoted"],
)
def test_repeated_key_is_refused(text: str, line: int) -> None:
    with pytest.raises(
        UsageError, match=f": is given more than once, again in line {line}$"
    ):
        read_yaml(text)
