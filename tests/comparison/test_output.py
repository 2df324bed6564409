"""What is printed, and where it goes: a terminal, a pipe, a full disk."""

import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lab.clones import copy_template, new_checkout, run
from lab.projects import Bakery, files_of, tree_of
from lab.variants import ROOT
from tests.comparison.comparing import (
    ESCAPE,
    ESCAPED,
    SIDES,
    compare,
    compare_apart,
    compared,
    edited,
    odd_project,
)


def test_table_comes_before_the_diff() -> None:
    printed = compare("local-postgres", "production-neon").stdout
    assert printed.index("Round trips per request") < printed.index("--- a/")
    assert "\x1b[" not in printed


def test_table_may_stand_alone() -> None:
    everything = compare(*SIDES).stdout
    for more in ([], ["--only-differences"]):
        printed = compare(*SIDES, "--table", *more).stdout
        assert printed.endswith(" differ.\n")
        assert "--- a/" not in printed
        assert everything.startswith(printed) == (not more)


def test_page_and_table_may_be_asked_for_at_once(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    completed = compare(*SIDES, "--table", "--html", page)
    assert completed.stdout == compare(*SIDES, "--table").stdout
    assert completed.stderr == f"Wrote {page}\n"


def test_equal_values_stand_on_both_sides() -> None:
    printed = compare(*SIDES, "--table").stdout
    [cells] = [
        line.split("│")[1:4] for line in printed.splitlines() if "Driver" in line
    ]
    assert cells[1].strip() == cells[2].strip() == "psycopg (postgresql+psycopg)"


@pytest.mark.parametrize(("columns", "width"), [("200", 200), ("80", 80), ("44", 44)])
def test_table_is_as_wide_as_columns_say(columns: str, width: int) -> None:
    printed = compare(*SIDES, "--table", COLUMNS=columns).stdout
    assert {len(line) for line in printed.splitlines()[:-1]} == {width}


@pytest.mark.everything
def test_table_without_any_terminal_has_the_usual_width() -> None:
    completed = subprocess.run(
        [sys.executable, ROOT / "compare.py", *SIDES, "--table"],
        env=os.environ | {"COLUMNS": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {len(line) for line in completed.stdout.splitlines()[:-1]} == {80}


@pytest.mark.everything
@pytest.mark.skipif(os.name == "nt", reason="It needs a pseudo-terminal")
def test_table_is_as_wide_as_the_terminal_beside_the_pipe() -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 97, 0, 0))
    completed = subprocess.run(
        [sys.executable, ROOT / "compare.py", *SIDES, "--table"],
        env={name: os.environ[name] for name in os.environ if name != "COLUMNS"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=True,
    )
    os.close(ours)
    os.close(theirs)
    assert {len(line) for line in completed.stdout.splitlines()[:-1]} == {97}


def test_terminal_is_coloured() -> None:
    printed = compare(
        *SIDES, "--only-differences", FORCE_COLOR="1", TERM="xterm-256color"
    ).stdout
    assert "\x1b[31m-" in printed
    assert "\x1b[32m+" in printed


ODD_NAMES = ["w [/x] y", "[bold]x[/bold]", ":rocket:", "a, b", "é"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_printed_as_they_are(bake: Bakery, tmp_path: Path, name: str) -> None:
    project = tmp_path / name
    project.parent.mkdir(exist_ok=True)
    edited(bake, tmp_path / "new").rename(project)
    own = project / "own" / name
    own.parent.mkdir(parents=True)
    own.write_text("own")
    completed = compare(name, "database=neon", folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert f" A: {name} " in completed.stdout
    assert f"left alone: own/{name}\n" in completed.stdout


def test_nothing_is_printed_that_a_terminal_obeys(bake: Bakery, tmp_path: Path) -> None:
    project = odd_project(bake, tmp_path)
    completed = compare(project.name, "database=neon", folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    printed = completed.stdout
    assert {each for each in printed if ord(each) < ord(" ")} == {"\n"}
    assert f" A: service{ESCAPED} " in printed
    assert f"left alone: notes{ESCAPED}\\n\\xff\n" in printed
    assert f"plain {ESCAPED}" in printed
    assert "\x1b" not in compare(f"{ESCAPE}=x", "a=b").stderr
    assert "\x1b" not in compare("--check", project / f"none{ESCAPE}").stderr
    assert "\x1b" not in compare(f"--{ESCAPE}").stderr


def test_printed_command_is_for_the_folder_itself(bake: Bakery, tmp_path: Path) -> None:
    made = edited(bake, tmp_path, database="pgbouncer")
    project = new_checkout(made.rename(tmp_path / "it's $mine"))
    printed = compare(project, f"{project},database=neon").stdout
    [line] = [line for line in printed.splitlines() if "git -C" in line]
    run(tmp_path, "sh", "-ec", line)
    assert not (project / "pgbouncer.ini").exists()


def test_only_differences() -> None:
    everything = compared("local-postgres", "production-neon")["decisions"]
    some = compared(*SIDES, "--only-differences")["decisions"]
    assert some == [each for each in everything if not each["same"]]
    assert 0 < len(some) < len(everything)


def test_same_sides() -> None:
    completed = compare("local-postgres", "local-postgres", "--exit-code")
    assert completed.returncode == 0
    assert "No file differs." in completed.stdout
    assert "--- " not in completed.stdout


def test_exit_code_of_differing_sides() -> None:
    sides = ["local-postgres", "production-neon"]
    assert compare(*sides).returncode == 0
    assert compare(*sides, "--exit-code").returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="It closes a POSIX pipe")
def test_reader_may_close_the_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    completed = compare_apart(*SIDES, output=writer)
    os.close(writer)
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.everything
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="There is no /dev/full")
def test_full_disk_gets_one_clear_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        completed = compare_apart(*SIDES, output=full, PYTHONUNBUFFERED="")
    message = "compare.py: standard output: No space left on device\n"
    assert (completed.returncode, completed.stderr) == (2, message)


@pytest.mark.everything
@pytest.mark.skipif(os.name == "nt", reason="It needs a POSIX shell")
def test_exit_code_alone_may_be_asked_for() -> None:
    program = [sys.executable, str(ROOT / "compare.py"), *SIDES, "--exit-code"]
    completed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (1, "")


@pytest.mark.everything
def test_output_may_have_few_characters(bake: Bakery) -> None:
    folder = bake(description="Größe 你好").path
    completed = compare_apart(folder, "database=neon", PYTHONIOENCODING="ascii")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "Gr\\xf6\\xdfe \\u4f60\\u597d" in completed.stdout


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template")
    home = tmp_path / "home"
    home.mkdir()
    before = tree_of(template)
    subprocess.run(
        [sys.executable, "-B", "compare.py", "local-postgres", "production-neon"],
        cwd=template,
        env=os.environ | {"HOME": str(home), "TMPDIR": str(home)},
        capture_output=True,
        check=True,
    )
    assert files_of(home) == []
    assert tree_of(template) == before
