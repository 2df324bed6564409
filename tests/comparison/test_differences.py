"""The diff of the files, as git writes it, and what is left out of it."""

import os
from pathlib import Path

import pytest

from lab.clones import run
from lab.projects import Bakery
from tests.comparison.comparing import compare, compared, edited


def test_files_of_a_persons_own_are_named_and_not_shown(
    bake: Bakery, tmp_path: Path
) -> None:
    project = edited(bake, tmp_path)
    (project / "notes.txt").write_text("our own notes")
    (project / ".env").write_text("POSTGRES_PASSWORD=unseen-7391")
    data = compared(project, project / ".cookiecutter.yaml")
    assert data["same"]
    assert data["own_files"] == ["notes.txt"]
    printed = compare(project, "database=neon").stdout
    assert "notes.txt" in printed
    assert "our own notes" not in printed
    assert "unseen-7391" not in printed


def test_edited_file_is_shown(bake: Bakery, tmp_path: Path) -> None:
    project = edited(bake, tmp_path)
    (project / "app" / "main.py").write_text("app = None")
    (project / "app" / "errors.py").unlink()
    data = compared(project, project / ".cookiecutter.yaml")
    status = {each["path"]: each["status"] for each in data["files"]}
    assert status == {"app/main.py": "changed", "app/errors.py": "only in B"}
    assert "\\ No newline at end of file" in data["files"][1]["diff"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_changed_mode_is_shown(bake: Bakery, tmp_path: Path) -> None:
    project = edited(bake, tmp_path)
    script = project / "scripts" / "migrate.sh"
    script.chmod(0o644)
    answers_file = project / ".cookiecutter.yaml"
    [file] = compared(project, answers_file)["files"]
    assert file["path"] == "scripts/migrate.sh"
    assert file["status"] == "changed"
    names = "a/scripts/migrate.sh b/scripts/migrate.sh"
    mode = [f"diff --git {names}", "old mode 100644", "new mode 100755"]
    assert file["diff"] == mode
    completed = compare(project, answers_file, "--exit-code")
    assert completed.returncode == 1
    assert "\n".join(mode) in completed.stdout
    script.write_text("exit\n")
    [file] = compared(project, answers_file)["files"]
    assert file["diff"][:4] == [*mode, "--- a/scripts/migrate.sh"]


@pytest.mark.parametrize(
    ("mine", "theirs", "diff"),
    [
        (b"\xe9\n", b"\xe8\n", ["-\\xe9", "+\\xe8"]),
        (b"\xe9\n", b"e\n", ["-\\xe9", "+e"]),
        (b"\xe9\n", "\ufffd\n".encode(), ["-\\xe9", "+\ufffd"]),
        (b"a\0b\n", b"a\0c\n", ["-a\\x00b", "+a\\x00c"]),
    ],
    ids=["latin-1", "latin-1-and-ascii", "latin-1-and-replacement", "nul"],
)
def test_bytes_that_are_no_text_are_shown(
    bake: Bakery, tmp_path: Path, mine: bytes, theirs: bytes, diff: list[str]
) -> None:
    left, right = edited(bake, tmp_path / "a"), edited(bake, tmp_path / "b")
    (left / "README.md").write_bytes(mine)
    (right / "README.md").write_bytes(theirs)
    lines = compare(left, right).stdout.splitlines()
    assert lines[-2:] == diff
    (right / "README.md").unlink()
    [file] = compared(left, right)["files"]
    assert file["status"] == "only in A"


DIFFERENT = {
    "no-newline": (b"a\nb", b"a\nb\n"),
    "note-of-diff": (b"a", b"a\n\\ No newline at end of file\n"),
    "line-endings": (b"a\r\nb\r\n", b"a\nb\n"),
    "empty": (b"", b"a\n"),
    "other-line-breaks": (b"a\x0cb\xc2\x85c\rd\n", b"a\x0cb\xc2\x85c\re\n"),
}


@pytest.mark.parametrize(("mine", "theirs"), DIFFERENT.values(), ids=list(DIFFERENT))
def test_diff_turns_one_file_into_the_other(
    bake: Bakery, tmp_path: Path, mine: bytes, theirs: bytes
) -> None:
    left, right = edited(bake, tmp_path / "a"), edited(bake, tmp_path / "b")
    (left / "README.md").write_bytes(mine)
    (right / "README.md").write_bytes(theirs)
    [file] = compared(left, right)["files"]
    patch = "".join(f"{line}\n" for line in file["diff"])
    (tmp_path / "patch").write_bytes(patch.encode())
    run(left, "git", "apply", "--no-index", "../../patch")
    assert (left / "README.md").read_bytes() == theirs
