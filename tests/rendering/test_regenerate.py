"""A service is rendered again: with the same answers, and with others.

Every change of one answer, for each has files of its own to leave behind. That every
variant's answers give the same bytes is in `test_rendering`.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import yaml

from comparison.comparison import compare
from comparison.rendering import render
from lab.clones import (
    commit,
    git,
    localised,
    new_checkout,
    page_commands,
    run,
    tagged_template,
)
from lab.projects import files_of, literal, tree_of
from lab.projects import render as cookiecutter
from lab.variants import CHOICES, VARIANTS, Variant
from tests.comparison.comparing import compare as run_compare

ANSWERS_FILE = ".cookiecutter.yaml"
BASE = replace(VARIANTS[0], postgres_version="18", python_version="3.14")


def changes() -> Iterator[tuple[Variant, Variant]]:
    """Yield every change of one answer."""
    values: dict[str, list[object]] = {
        "database": list(CHOICES["database"]),
        "pool": ["nullpool", "queuepool"],
        "driver": list(CHOICES["driver"]),
        "migrate_service": [True, False],
    }
    for name, choices in values.items():
        for old, new in permutations(choices, 2):
            yield (
                replace(BASE, **{name: old}),  # type: ignore[arg-type]
                replace(BASE, **{name: new}),  # type: ignore[arg-type]
            )


def name_of(change: object) -> str:
    return str(change)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Variant], Path]:
    """Render a variant into a folder of its own, once."""
    folder = tmp_path_factory.mktemp("fresh")
    projects: dict[Variant, Path] = {}

    def project_of(variant: Variant) -> Path:
        if variant not in projects:
            projects[variant] = render(variant.answers, folder / str(len(projects)))
        return projects[variant]

    return project_of


def checkout(folder: Path, variant: Variant) -> Path:
    """Render a service into a folder, and commit it."""
    return new_checkout(render(variant.answers, folder / "services"))


def render_over(service: Path, variant: Variant) -> None:
    """Render other answers over a service, as the README says."""
    answers = {
        name: value
        for name, value in variant.answers.items()
        if value != read_answers(service)[name]
    }
    cookiecutter(
        service.parent,
        no_input=True,
        overwrite_if_exists=True,
        config_file=str(service / ANSWERS_FILE),
        extra_context=answers,
    )


def read_answers(service: Path) -> dict[str, object]:
    document = yaml.safe_load((service / ANSWERS_FILE).read_text(encoding="utf-8"))
    answers: dict[str, object] = document["default_context"]
    return answers


def tracked(service: Path) -> dict[str, tuple[bytes, bool]]:
    """Return the files of a service, without git's own."""
    tree = tree_of(service)
    return {name: entry for name, entry in tree.items() if not name.startswith(".git/")}


# The same answers


def test_answers_with_odd_texts_give_the_same_bytes(tmp_path: Path) -> None:
    odd = literal("{{ x }} 'a' \"b\" \\ {% y %} é")
    answers = {"project_name": odd, "description": odd, "project_slug": "odd"}
    project = render(answers, tmp_path / "first")
    answers_file = str(project / ANSWERS_FILE)
    assert run_compare("--check", answers_file).returncode == 0
    again = cookiecutter(tmp_path / "second", no_input=True, config_file=answers_file)
    assert tree_of(again) == tree_of(project)


def test_command_in_the_answers_file(tmp_path: Path) -> None:
    """As it stands there, in the service's folder, with a local template."""
    template = tagged_template(tmp_path / "cookiecutter-fastapi-postgres")
    service = render({**BASE.answers, "project_name": "Orders"}, tmp_path / "services")
    before = tree_of(service)
    (service / "README.md").unlink()
    text = (service / ANSWERS_FILE).read_text(encoding="utf-8")
    [command] = re.findall("^# (.*cookiecutter .*)$", text, re.MULTILINE)
    run(service, "sh", "-ec", localised(command, template))
    assert [path for path in service.parent.iterdir() if path.is_dir()] == [service]
    assert tree_of(service) == before


# Other answers


@pytest.mark.parametrize(("old", "new"), list(changes()), ids=name_of)
def test_nothing_stale_is_left(
    fresh: Callable[[Variant], Path], old: Variant, new: Variant, tmp_path: Path
) -> None:
    service = checkout(tmp_path, old)
    pairs = ",".join(
        f"{name}={str(value).lower()}" for name, value in new.answers.items()
    )
    found = compare(str(service), f"{service},{pairs}").differences
    render_over(service, new)
    stale = set(files_of(fresh(old))) - set(files_of(fresh(new)))
    assert set(found.left_behind) == stale
    if stale:
        run(tmp_path, *shlex.split(found.remove_command))
    assert tracked(service) == tree_of(fresh(new))


def test_some_change_leaves_files_behind(
    fresh: Callable[[Variant], Path], tmp_path: Path
) -> None:
    """Without the command, the old file stays: the test above can fail."""
    old, new = replace(BASE, database="pgbouncer"), replace(BASE, database="neon")
    service = checkout(tmp_path, old)
    render_over(service, new)
    left = set(tracked(service)) - set(tree_of(fresh(new)))
    assert left == {"pgbouncer.ini"}


def test_left_behind_is_told_also_after_the_render(tmp_path: Path) -> None:
    """Git still has the old answers."""
    service = checkout(tmp_path, replace(BASE, database="pgbouncer"))
    render_over(service, BASE)
    printed = run_compare(service, service / ANSWERS_FILE).stdout
    assert f"git -C {service} rm -- pgbouncer.ini" in printed
    git(service, "rm", "--quiet", "--", "pgbouncer.ini")
    commit(service, "To PostgreSQL")
    completed = run_compare(service, service / ANSWERS_FILE, "--exit-code")
    assert completed.returncode == 0
    assert "rm --" not in completed.stdout


def test_files_of_a_persons_own_stay(tmp_path: Path) -> None:
    """A file of one's own is not stale, even where another answer has its name."""
    service = checkout(tmp_path, BASE)
    for name in ("notes.txt", "pgbouncer.ini", "tests/test_endpoint.py"):
        (service / name).write_text("our own")
    commit(service, "Our own")
    found = compare(str(service), f"{service},driver=psycopg").differences
    assert found.left_behind == ()
    assert set(found.own) == {"notes.txt", "pgbouncer.ini", "tests/test_endpoint.py"}
    render_over(service, replace(BASE, driver="psycopg"))
    assert (service / "pgbouncer.ini").read_text() == "our own"
    assert git(service, "status", "--porcelain", "--", *found.own) == ""


def test_hooks_delete_nothing(tmp_path: Path) -> None:
    service = checkout(tmp_path, replace(BASE, database="pgbouncer"))
    (service / "notes.txt").write_text("our own")
    before = set(files_of(service))
    render_over(service, BASE)
    assert before <= set(files_of(service))


def test_odd_file_names_are_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    service = checkout(folder, replace(BASE, database="pgbouncer"))
    found = compare(str(service), f"{service},database=neon").differences
    render_over(service, replace(BASE, database="neon"))
    run(tmp_path, *shlex.split(found.remove_command))
    assert not (service / "pgbouncer.ini").exists()


# The check


GOOD = "default_context:\n  database: neon\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "  databse: neon\n", "databse: is no question of the template; did"),
        (GOOD + "  pool: always\n", "pool: is 'always', but must be one of auto"),
        (GOOD + "  postgres_version: 17\n", "postgres_version: is 17, but must be one"),
        (GOOD + "  migrate_service: maybe\n", "migrate_service: is 'maybe', but must"),
        (GOOD + "  migrate_service: 1\n", "migrate_service: is 1, but must"),
        (GOOD + "  description: 5\n", "description: is 5, but must be text"),
        (GOOD + "  description: [a]\n", "description: is ['a'], but must be text"),
        (GOOD + "  description: '{{ x }}'\n", "description: cannot be rendered"),
        (GOOD + "  project_slug: A B\n", "project_slug: must be lower-case"),
        (GOOD + "  project_name: ' '\n", "project_name: must not be blank"),
        (GOOD + "  database: neon\n", "database: is given more than once"),
        (GOOD + "default: {}\n", "default: is no key of an answers file; did you"),
        (GOOD + "  __pool: nullpool\n", "__pool: is no question"),
        ("default_context:\n- neon\n", "default_context: must hold one answer a line"),
        ("default_context:\n", "default_context: must hold one answer a line"),
        ("database: neon\n", "has no default_context"),
        ("", "has no default_context"),
        ("a: [", "is not YAML"),
    ],
)
def test_check_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(text, encoding="utf-8")
    completed = run_compare("--check", file)
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1
    assert completed.stderr.startswith(f"{file}: {message}")


def test_check_names_every_key_at_once(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(GOOD + "  pool: always\n  databse: neon\n  driver: pg8000\n")
    lines = run_compare("--check", file).stderr.splitlines()
    keys = [line.removeprefix(f"{file}: ").partition(":")[0] for line in lines]
    assert keys == ["pool", "databse", "driver"]


def test_check_of_a_missing_file(tmp_path: Path) -> None:
    completed = run_compare("--check", tmp_path / "none.yaml")
    assert completed.returncode == 1
    assert "none.yaml: cannot be read: No such file" in completed.stderr


@pytest.mark.parametrize("variant", VARIANTS[::6], ids=str)
def test_check_takes_what_the_template_wrote(
    fresh: Callable[[Variant], Path], variant: Variant
) -> None:
    completed = run_compare("--check", fresh(variant) / ANSWERS_FILE)
    assert completed.returncode == 0, completed.stderr
    assert "12 answers" in completed.stdout


def test_check_takes_other_settings_of_cookiecutter(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(GOOD + "replay_dir: /tmp/x\nabbreviations: {}\n")
    assert run_compare("--check", file).returncode == 0


# The README's recipe


@pytest.mark.everything
@pytest.mark.parametrize("database", ["postgres", "pgbouncer"])
def test_recipe_of_the_readme(tmp_path: Path, database: str) -> None:
    """The recipe moves a service to Neon, from either database."""
    template = tagged_template(tmp_path / "cookiecutter-fastapi-postgres")
    answers = {**BASE.answers, "database": database}
    service = new_checkout(render(answers, tmp_path / "x"))
    service = service.rename(tmp_path / service.name)
    (service / "notes.txt").write_text("our own")
    commit(service, "Notes")
    commands = page_commands("docs/regenerate.md", "# Regenerate")
    assert "compare.py --check" in commands[0]
    printed = ""
    for command in commands:
        printed += run(template, "sh", "-ec", localised(command, template)).stdout
    for line in re.findall(r"^ +(git -C \S+ rm .*)$", printed, re.MULTILINE):
        run(template, "sh", "-ec", line)
    expected = render({**answers, "database": "neon"}, tmp_path / "expected")
    assert tracked(service) == {
        **tree_of(expected),
        "notes.txt": (b"our own", False),
    }
    assert ("rm -- pgbouncer.ini" in printed) == (database == "pgbouncer")
