"""The two sides of a comparison, as a person names them."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from environments.answers import (
    ANSWERS_FILE,
    PUBLIC,
    ROOT,
    TEXTS,
    Answers,
    UsageError,
    hint,
    parse_answers,
    problems,
    read_answers,
)
from environments.rendering import render

PRESETS = ROOT / "presets"


@dataclass(frozen=True)
class Side:
    """One side: the answers it gives, and its folder if it is rendered already.

    `previous` holds the answers that were committed with the folder.
    """

    name: str
    answers: Answers
    folder: Path | None = None
    previous: Answers | None = None


def read_side(text: str) -> Side:
    """Find out what a person means by a preset, a file, a folder or `key=value,...`.

    Answers may follow each of the first three: `production-neon,pool=nullpool`.
    Raises UsageError if it is none of them, or if an answer cannot be used.
    """
    base, pairs = split_side(text)
    try:
        side = read_base(base)
        answers = {**side.answers, **read_pairs(pairs)}
        found = problems(answers)
        if found:
            raise UsageError(found[0])
    except UsageError as error:
        message = f"{text}: {error}"
        raise UsageError(message) from error
    if pairs:
        return Side(text, answers)
    return Side(text, answers, side.folder, side.previous)


def split_side(text: str) -> tuple[str, list[str]]:
    """Split what a person typed into a base, which may be empty, and `key=value`s.

    A part without `=` belongs to the value before it, which had a comma in it.
    """
    if not text:
        message = "an empty name: give a preset, an answers file, a folder or key=value"
        raise UsageError(message)
    if os.path.exists(text):  # noqa: PTH110 (Path's raises for a long text)
        return text, []
    first, *others = text.split(",")
    base, parts = ("", [first]) if "=" in first else (first, [])
    for part in others:
        if "=" in part or not parts:
            parts.append(part)
        else:
            parts[-1] += "," + part
    return base, parts


def read_pairs(pairs: list[str]) -> dict[str, str]:
    """Read `key=value`s; raises UsageError for a key that is there already."""
    given: dict[str, str] = {}
    for pair in pairs:
        key, value = read_pair(pair)
        if key in given:
            message = f"{key}: is given more than once"
            raise UsageError(message)
        given[key] = value
    return given


def read_pair(pair: str) -> tuple[str, str]:
    """Read one `key=value`; raises UsageError if it is none."""
    key, equals, value = pair.partition("=")
    if not equals:
        message = f"{pair!r} is no key=value"
        raise UsageError(message)
    return key.strip(), value


def read_base(base: str) -> Side:
    """Return the side for a preset, an answers file, a folder, or nothing."""
    if not base:
        return Side("", {})
    preset = PRESETS / f"{base}.yaml"
    if base in preset_names():
        return Side(base, read_answers(preset))
    path = Path(base)
    if path.is_dir():
        return read_folder(path)
    if path.exists():
        return Side(base, read_answers(path))
    names = preset_names()
    message = (
        f"no preset ({', '.join(names)}), answers file, rendered folder"
        f" or key=value{hint(base, names)}"
    )
    raise UsageError(message)


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_folder(folder: Path) -> Side:
    """Return the side for a rendered project."""
    if not (folder / ANSWERS_FILE).is_file():
        message = f"has no {ANSWERS_FILE}, so it is no project of this template"
        raise UsageError(message)
    answers = read_answers(folder / ANSWERS_FILE)
    return Side(str(folder), answers, folder, committed_answers(folder) or answers)


def committed_answers(folder: Path) -> Answers | None:
    """Return the answers that git holds, which a new render may have replaced."""
    text = git(folder, "show", f"HEAD:./{ANSWERS_FILE}")
    try:
        answers = parse_answers(text) if text else None
    except UsageError:
        return None
    return None if answers is None or problems(answers) else answers


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints in a folder, or None if it cannot."""
    try:
        completed = subprocess.run(  # noqa: S603 (the arguments are ours)
            ["git", *arguments],  # noqa: S607 (the person's own git)
            cwd=folder,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    if completed.returncode:
        return None
    return os.fsdecode(completed.stdout)


def share_names(side: Side, other: Side) -> Side:
    """Take the names that a side leaves open from the other side.

    Otherwise every file that holds the project's name would differ.
    """
    if side.folder:
        return side
    names = {key: other.answers[key] for key in TEXTS if key in other.answers}
    answers = {**names, **side.answers}
    ordered = {key: answers[key] for key in PUBLIC if key in answers}
    return Side(side.name, ordered, side.folder, side.previous)


def project_of(side: Side, output_dir: Path) -> Path:
    """Return the folder of a side, rendered now if it is not there yet."""
    return side.folder or render(side.answers, output_dir)


def files_of(folder: Path) -> set[str]:
    """Return the paths of the files that belong to a project.

    In a git checkout, those that git does not ignore: no secrets and no caches.
    """
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed:
        names = listed.rstrip("\0").split("\0")
        return {name for name in names if (folder / name).is_file()}
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        name
        for name in (path.relative_to(folder).as_posix() for path in paths)
        if not IGNORED & set(name.split("/"))
    }


IGNORED = {
    ".env",
    ".git",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
}
