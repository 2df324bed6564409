"""Free text arrives unchanged wherever it is used.

Every text as each free answer, in the default variant: no other answer has a part in it.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lab.projects import Bakery, Project, literal, render, tree_of
from lab.variants import PUBLIC, QUESTIONS, TEXTS
from tests.rendering import checks

HOSTILE = {
    "empty": "",
    "blank": "  ",
    "apostrophe": "O'Brien's",
    "quotes": 'say "hello"',
    "both-quotes": """it's "quoted" '' \"\"\" '''""",
    "only-a-quote": '"',
    "backslash": r"C:\new\table",
    "last-backslash": "ends with \\",
    "backslash-quote": r"\" and \' and \\",
    "newline": "first\nsecond\n\nfourth",
    "last-newline": "ends with a newline\n",
    "written-newline": r"not\na newline",
    "latin": "Größe façade ñandú",
    "cyrillic-and-chinese": "Привет 你好",
    "emoji": "\N{ROCKET} \N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
    "combining": "e\N{COMBINING ACUTE ACCENT}",
    "no-break-space": "a\N{NO-BREAK SPACE}b",
    "ideographic-space": "a\N{IDEOGRAPHIC SPACE}b",
    "private-use": "\ue000",
    "yaml-no": "no",
    "yaml-null": "null",
    "yaml-tilde": "~",
    "number": "1.0",
    "date": "2026-01-01",
    "shell": '"; rm -rf x; "',
    "comment": "# x",
    "comment-in-text": "a # b",
    "noqa": "a  # noqa: F401",
    "variable": "${X} $X $(x) `x`",
    "percent": "100% %(x)s %s",
    "jinja-expression": "{{ x }}",
    "jinja-statement": "{% if x %}",
    "jinja-comment": "{# x #}",
    "jinja-triple": "{{{ x }}}",
    "cookiecutter-expression": "{{ cookiecutter.project_slug }}",
    "f-string": "{x} {0} {}",
    "spaces": "  both ends  ",
    "yaml-block": "| - ? : > & * ! @ [a, b] {a: b}",
    "yaml-document": "---",
    "toml": "[project] a = 1",
    "html": "<b>&amp;</b> <!-- x -->",
    "markdown": "# *a* _b_ [c](d) `e` | f",
    "long": "long " * 60,
    "python": "__import__('os').system('exit 1')",
}


@pytest.fixture(params=HOSTILE.values(), ids=list(HOSTILE))
def text(request: pytest.FixtureRequest) -> str:
    """Run the test for every hostile text."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def hostile(bake: Bakery, text: str) -> Project:
    """Return a project that has the text as every free answer."""
    return hostile_project(bake, text)


def hostile_project(bake: Bakery, text: str) -> Project:
    """Bake a project that has the text as every free answer, once."""
    answers = {name: literal(value) for name, value in answers_of(text).items()}
    return bake(**answers, project_slug="my-service")


def answers_of(text: str) -> dict[str, str]:
    """Return the text as every free answer, but a name, which must not be blank."""
    answers = dict.fromkeys(free_texts(), text)
    return answers if text.strip() else {**answers, "project_name": "My Service"}


def free_texts() -> list[str]:
    return [name for name in TEXTS if name != "project_slug"]


def test_cookiecutter_takes_the_text_unchanged(hostile: Project, text: str) -> None:
    expected = answers_of(text)
    assert {name: hostile.answers[name] for name in free_texts()} == expected


def test_pyproject(hostile: Project, text: str) -> None:
    project = tomllib.loads(hostile.read("pyproject.toml"))["project"]
    assert project["name"] == "my-service"
    assert project["description"] == text
    assert project["authors"] == [{"name": text, "email": text}]


def test_application(hostile: Project, text: str) -> None:
    arguments = fastapi_arguments(hostile.read("app/main.py"))
    assert ast.literal_eval(arguments["title"]) == answers_of(text)["project_name"]
    assert ast.literal_eval(arguments["description"]) == text


def fastapi_arguments(source: str) -> dict[str | None, ast.expr]:
    """Return the arguments of the call that makes the application."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Application"
        ):
            return {keyword.arg: keyword.value for keyword in node.keywords}
    message = "no application is made"
    raise AssertionError(message)


def test_readme(hostile: Project, text: str) -> None:
    readme = words(hostile.read("README.md"))
    assert readme.startswith(words("# " + answers_of(text)["project_name"]))
    assert readme.count(words(text)) > 1


@pytest.mark.parametrize("blank", ["empty", "blank"])
def test_blank_text_leaves_no_gap(bake: Bakery, blank: str) -> None:
    project = bake(**answers_of(HOSTILE[blank]), project_slug="my-service")
    found = [
        problem
        for name in project.files()
        for problem in checks.whitespace(name, project.read(name).encode())
    ]
    assert found == []
    assert "# My Service\n\nThe service connects to" in project.read("README.md")


def test_readme_does_not_repeat_the_description(project: Project) -> None:
    _, description, second, *_ = project.read("README.md").split("\n\n")
    assert description == QUESTIONS["description"]
    assert not set(re.findall(r"\w+", description)) <= set(re.findall(r"\w+", second))


def words(text: str) -> str:
    """Return the text with every run of white space as one space."""
    return " ".join(text.split())


def test_answers_file(hostile: Project) -> None:
    answers = yaml.safe_load(hostile.read(".cookiecutter.yaml"))["default_context"]
    assert list(answers) == PUBLIC
    for name, value in answers.items():
        expected = hostile.answers[name]
        assert value == (literal(expected) if name in TEXTS else expected)


@pytest.mark.everything
def test_answers_file_renders_the_same_project(
    hostile: Project, tmp_path: Path
) -> None:
    answers_file = str(hostile.path / ".cookiecutter.yaml")
    path = render(tmp_path, no_input=True, config_file=answers_file)
    assert tree_of(path) == hostile.tree()


@pytest.mark.parametrize("command", [["format", "--check"], ["check"]], ids=" ".join)
def test_ruff_is_content(bake: Bakery, command: list[str]) -> None:
    """With every text at once: ruff takes the settings that are nearest to a file."""
    paths = [hostile_project(bake, text).path for text in HOSTILE.values()]
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", *map(str, paths)]
    result = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


# Where each answer goes. A new place needs a test above.
PLACES = {
    "project_name": [".cookiecutter.yaml", "README.md", "app/main.py"],
    "description": [".cookiecutter.yaml", "README.md", "app/main.py", "pyproject.toml"],
    "full_name": [".cookiecutter.yaml", "pyproject.toml"],
    "email": [".cookiecutter.yaml", "pyproject.toml"],
}


def test_places_name_every_free_text() -> None:
    assert list(PLACES) == free_texts()


@pytest.mark.parametrize("name", PLACES)
def test_free_text_goes_to_known_places_only(bake: Bakery, name: str) -> None:
    project = bake(**{name: "Marker 7391"}, project_slug="my-service")
    places = [file for file in project.files() if "Marker 7391" in project.read(file)]
    assert places == PLACES[name]
