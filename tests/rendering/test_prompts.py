"""The prompts as a person meets them, in a pseudo-terminal.

`UPDATE_PICTURES=1` writes the picture of the transcript again.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.text import Text

from comparison.terminal import picture_of
from lab.clones import (
    clone_commands,
    copy_template,
    localised,
    new_checkout,
    page_commands,
    run,
    tagged_template,
)
from lab.containers import docker
from lab.pages import section
from lab.projects import Bakery, files_of, tree_of
from lab.prompting import (
    COLUMNS,
    Dialogue,
    most_choices,
    nth_choices,
    printed_commands,
    talk,
)
from lab.servers import free_port
from lab.variants import CHOICES, PUBLIC, QUESTIONS, ROOT, SWITCHES, VARIANTS
from tests.comparison.comparing import picture_lines

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")

PICTURE = ROOT / "docs" / "prompts.svg"
COMMAND = "cookiecutter gh:OWNER/cookiecutter-fastapi-postgres"
START_SECONDS = 240


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> Dialogue:
    """A person who presses Enter twelve times."""
    return talk(tmp_path_factory.mktemp("defaults"), {})


def project_of(dialogue: Dialogue) -> Path:
    """Return the only project that a dialogue made."""
    (project,) = dialogue.output.iterdir()
    return project


def words(text: str) -> str:
    return " ".join(text.split())


# What the prompts do


def test_defaults_give_the_default_project(bake: Bakery, defaults: Dialogue) -> None:
    project = project_of(defaults)
    assert project.name == "my-service"
    assert tree_of(project) == bake().tree()


@pytest.mark.parametrize("number", range(most_choices()))
def test_choice_gives_its_project(bake: Bakery, tmp_path: Path, number: int) -> None:
    answers = nth_choices(number)
    dialogue = talk(tmp_path / "person", answers)
    assert tree_of(project_of(dialogue)) == bake(**answers).tree()


def test_every_choice_is_made() -> None:
    made = [nth_choices(number) for number in range(most_choices())]
    for name, values in (CHOICES | {name: [True, False] for name in SWITCHES}).items():
        assert {str(answers[name]) for answers in made} == {
            str(each) for each in values
        }


def test_typed_names_are_used(bake: Bakery, tmp_path: Path) -> None:
    answers = {"project_name": "Order Desk", "full_name": "Ada Löwe"}
    project = project_of(talk(tmp_path / "person", answers))
    assert project.name == "order-desk"
    assert tree_of(project) == bake(**answers).tree()


def test_prompts_say_what_cookiecutter_json_says(defaults: Dialogue) -> None:
    """Each in one line: Rich wraps a text that is wider than the terminal."""
    lines = defaults.plain().splitlines()
    prompts = QUESTIONS["__prompts__"]
    assert isinstance(prompts, dict)
    for name in PUBLIC:
        prompt = prompts[name]
        texts = list(prompt.values()) if isinstance(prompt, dict) else [prompt]
        for text in texts:
            assert any(text in line for line in lines), f"wrapped: {text}"


def test_no_question_is_wrapped(defaults: Dialogue) -> None:
    """The line of a question ends with its default, or its choices follow."""
    lines = [line.rstrip() for line in defaults.plain().splitlines()]
    asked = [line for line in lines if re.match(r" +\[\d+/\d+\]", line)]
    assert len(asked) == len(PUBLIC)
    assert all(line.endswith(("):", "?")) for line in asked), asked


def test_answers_are_saved(defaults: Dialogue) -> None:
    saved = yaml.safe_load((project_of(defaults) / ".cookiecutter.yaml").read_text())
    assert list(saved["default_context"]) == PUBLIC


def test_wrong_number_is_asked_again(tmp_path: Path) -> None:
    dialogue = Dialogue(make(tmp_path / "person"))
    for name in PUBLIC:
        if name == "database":
            dialogue.answer(name, "9")
            dialogue.process.expect("Please select one of the available options")
            dialogue.process.sendline("2")
        else:
            dialogue.answer(name, "")
    assert dialogue.end() == 0
    answers = (project_of(dialogue) / ".cookiecutter.yaml").read_text()
    assert 'database: "neon"' in answers


def test_refused_name_leaves_nothing_behind(tmp_path: Path) -> None:
    dialogue = Dialogue(make(tmp_path / "person"))
    for name in PUBLIC:
        dialogue.answer(name, "Not A Slug" if name == "project_slug" else "")
    assert dialogue.end() == 1
    assert "must be lower-case letters" in words(dialogue.plain())
    assert list(dialogue.output.iterdir()) == []


def test_answers_are_kept_where_the_folder_exists(tmp_path: Path) -> None:
    """Cookiecutter sees it after the questions, and the README says how to go on."""
    dialogue = Dialogue(make(tmp_path / "person"))
    make(dialogue.output / "orders")
    for name in PUBLIC:
        dialogue.answer(name, "Orders" if name == "project_name" else "")
    assert dialogue.end() == 1
    assert '"orders" directory already exists' in words(dialogue.plain())
    assert list((dialogue.output / "orders").iterdir()) == []
    (options,) = re.findall(
        r"`(--replay .*?)`", section(ROOT / "docs/render.md", "# Render a service")
    )
    options = options.replace("ELSEWHERE", "elsewhere")
    again = f"cookiecutter {shlex.quote(str(ROOT))} {options}"
    completed = shell([again], dialogue.output, HOME=str(dialogue.folder))
    assert completed.returncode == 0, completed.stderr
    readme = dialogue.output / "elsewhere" / "orders" / "README.md"
    assert readme.read_text().startswith("# Orders\n")


def make(folder: Path) -> Path:
    """Make a folder."""
    folder.mkdir()
    return folder


# Ctrl-C


@pytest.mark.everything
@pytest.mark.parametrize("number", range(1, len(PUBLIC) + 1))
def test_interrupt_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    dialogue = Dialogue(make(tmp_path / "person"))
    for name in PUBLIC[: number - 1]:
        dialogue.answer(name, "")
    dialogue.read_question(number)
    dialogue.interrupt()
    assert dialogue.end() == 1
    assert dialogue.plain().rstrip().endswith("Aborted!")
    assert files_of(dialogue.folder) == []
    assert list(dialogue.output.iterdir()) == []
    assert list(dialogue.temporary.iterdir()) == []


def test_what_is_left_behind_would_be_seen(defaults: Dialogue) -> None:
    """Without Ctrl-C there are files in all three places."""
    assert ".cookiecutter_replay" in {path.name for path in defaults.folder.iterdir()}
    assert list(defaults.output.iterdir())
    assert list(defaults.temporary.iterdir())


# The transcript in the README


def transcript_picture(dialogue: Dialogue) -> str:
    """Return a picture of a terminal after a dialogue."""
    shown = dialogue.transcript.replace("\r\n", "\n").rstrip()
    command = Text(f"$ {COMMAND}", "bold")
    return picture_of([command, Text.from_ansi(shown)], COMMAND, COLUMNS)


def test_picture_is_the_transcript(defaults: Dialogue) -> None:
    svg = transcript_picture(defaults)
    if os.environ.get("UPDATE_PICTURES"):
        PICTURE.write_text(svg, encoding="utf-8")
    remedy = "run: UPDATE_PICTURES=1 uv run pytest tests/rendering/test_prompts.py"
    assert picture_lines(PICTURE.read_text(encoding="utf-8")) == picture_lines(svg), (
        remedy
    )


def test_picture_shows_every_question_and_the_closing_message() -> None:
    text = words(" ".join(picture_lines(PICTURE.read_text(encoding="utf-8"))))
    assert all(f"[{number}/{len(PUBLIC)}]" in text for number in range(1, 13))
    assert "The project is ready. To start it:" in text
    assert "docker compose up --build" in text


def test_picture_is_shown() -> None:
    page = (ROOT / "docs" / "render.md").read_text(encoding="utf-8")
    assert f"]({PICTURE.name})" in page


def test_closing_message_is_also_in_the_readme(defaults: Dialogue) -> None:
    """Also where cruft renders, which prints none."""
    start = printed_commands(defaults.plain())[:3]
    _, *rest = page_commands("README.md", "## Render a service")
    assert rest[: len(start)] == start
    update = section(ROOT / "docs/update.md", "# Update")
    assert all(f"`{command}`" in update for command in start)


# The README's commands


@pytest.mark.everything
def test_readme_renders_with_questions(tmp_path: Path) -> None:
    """As it stands there, with a local template and Enter for every question."""
    command, *_ = page_commands("README.md", "## Render a service")
    template = tagged_template(tmp_path / "cookiecutter-fastapi-postgres")
    work = make(tmp_path / "work")
    enter = "\n" * len(PUBLIC)
    printed = run(work, "sh", "-ec", localised(command, template), text=enter).stdout
    assert "The project is ready." in printed
    assert (work / "my-service" / "docker-compose.yml").is_file()


def test_readme_renders_without_questions(tmp_path: Path) -> None:
    *_, command = page_commands("README.md", "## Render a service")
    template = tagged_template(tmp_path / "cookiecutter-fastapi-postgres")
    work = make(tmp_path / "work")
    run(work, "sh", "-ec", localised(command, template))
    saved = yaml.safe_load((work / "my-service" / ".cookiecutter.yaml").read_text())
    answers = dict(word.split("=") for word in command.split() if "=" in word)
    assert answers.items() <= saved["default_context"].items()
    assert len(answers) > 1


@pytest.mark.everything
def test_readme_renders_from_a_clone(tmp_path: Path) -> None:
    """As it stands there, beside a clone that has no tag, before anything is published."""
    commands = clone_commands("README.md", "## Render a service") + clone_commands(
        "docs/render.md", "# Render a service"
    )
    assert len(commands) == len(["with questions", "without"])
    new_checkout(copy_template(tmp_path / "cookiecutter-fastapi-postgres"))
    for command in commands:
        run(tmp_path, "sh", "-ec", command, text="\n" * len(PUBLIC))
        shutil.move(tmp_path / "my-service", tmp_path / str(len(command)))


def test_readme_explains_the_owner_once_and_first() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, explained, after = readme.partition("`OWNER`, here and in a rendered")
    assert explained
    assert "OWNER" not in before
    assert "`OWNER`" not in after


def test_readme_counts_the_variants() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"driver and migrate service, {len(VARIANTS)} variants," in readme


# The closing message's commands, as printed


def shell(
    commands: list[str], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run commands one after the other in one shell, and stop at the first failure."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABASE_URL", "TEST_DATABASE", "DB_", "COMPOSE"))
        and name != "VIRTUAL_ENV"
    }
    return subprocess.run(
        ["sh", "-ec", "\n".join(commands)],
        cwd=folder,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.everything
@pytest.mark.parametrize("database", ["postgres", "neon"])
def test_closing_commands_that_need_no_docker(tmp_path: Path, database: str) -> None:
    dialogue = talk(tmp_path / "person", {"database": database})
    commands = printed_commands(dialogue.plain())
    assert commands[:2] == ["cd my-service", "cp .env.example .env"]
    assert commands[-2:] == ["uv sync", "uv run pytest"]
    without = [each for each in commands if not each.startswith("docker")]
    completed = shell(without, dialogue.output)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert " passed" in completed.stdout
    project = project_of(dialogue)
    assert (project / ".env").read_text() == (project / ".env.example").read_text()
    asked = "Fill in NEON_POOLED_URL and NEON_DIRECT_URL" in dialogue.plain()
    assert asked == (database == "neon")


@pytest.mark.usefixtures("docker_engine")
@pytest.mark.parametrize("migrate", [True, False], ids=["migrate", "nomigrate"])
def test_closing_commands_that_need_docker(tmp_path: Path, migrate: bool) -> None:
    """The last one stays in the foreground, until Ctrl-C.

    Both projects have one name, so that the second one's image is built already.
    """
    name = f"prompts-{os.getpid()}"
    answers = {"project_name": name, "migrate_service": migrate}
    dialogue = talk(tmp_path / "person", answers)
    commands = printed_commands(dialogue.plain())
    *first, last = [each for each in commands if not each.startswith("uv")]
    assert last.startswith("docker compose up")
    port = free_port()
    ports = {"API_PORT": str(port), "DB_PORT": str(free_port())}
    project = dialogue.output / name
    try:
        completed = shell(first, dialogue.output, **ports)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        with in_foreground(last, project, ports) as process:
            documentation = f"http://localhost:{port}/docs"
            assert "http://localhost:8000/docs" in dialogue.plain()
            assert "swagger" in page_at(documentation, process)
            assert page_at(f"http://localhost:{port}/users", process) == "[]"
    finally:
        docker(
            *("compose", "--project-directory", str(project), "--profile", "*"),
            *("down", "--volumes", "--rmi", "local"),
        )


class in_foreground:  # noqa: N801 (used as a function)
    """Run a command until the block ends, then press Ctrl-C."""

    def __init__(self, command: str, folder: Path, variables: dict[str, str]) -> None:
        """Prepare the command."""
        self.log = (folder.parent / "log").open("w+b")
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=folder,
            env=os.environ | variables,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> "in_foreground":
        """Return the running command."""
        return self

    def __exit__(self, *_: object) -> None:
        """Press Ctrl-C, and wait."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(120)
        self.log.close()

    def output(self) -> str:
        """Return what the command has printed."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def page_at(url: str, command: in_foreground) -> str:
    """Return what is at a URL, once there is an answer."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                body: bytes = response.read()
                return body.decode()
        except (urllib.error.URLError, OSError):
            ended = command.process.poll() is not None
            assert time.monotonic() < deadline, command.output()
            assert not ended, command.output()
            time.sleep(0.5)


@pytest.fixture(scope="module", autouse=True)
def _summary(report: list[str], defaults: Dialogue) -> Iterator[None]:
    """Report what was answered."""
    yield
    commands = printed_commands(defaults.plain())
    report.append(f"prompts: {len(PUBLIC)}, interrupted at each of them")
    report.append(f"closing message: {'; '.join(commands)}")
    shutil.rmtree(defaults.temporary, ignore_errors=True)
