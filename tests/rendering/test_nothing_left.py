"""A refused answer leaves nothing behind, and deletes nothing of a person's."""

from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException

from comparison.answers import complete
from lab.projects import render
from tests.rendering.loaded_hooks import problem, replay, snapshot

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
