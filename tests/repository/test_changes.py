"""What `lab.changes` shows of a change of the template."""

import subprocess
from pathlib import Path

import pytest

from lab.changes import difference, differences, export, where
from lab.clones import copy_template
from lab.copies import replace_once
from lab.variants import VARIANTS

POOLED = [variant for variant in VARIANTS if variant.pool == "queuepool"]


def test_each_difference_is_told_once(tmp_path: Path) -> None:
    old = copy_template(tmp_path / "template")
    project = old / "{{cookiecutter.project_slug}}"
    replace_once(project / "alembic.ini", "[alembic]", "[alembic]\n# old")
    with (project / ".gitignore").open("a") as file:
        file.write(
            "{%- if cookiecutter.__pool == 'queuepool' %}\n# old\n{%- endif %}\n"
        )
    chosen = [POOLED[0], POOLED[1], VARIANTS[0]]

    found = differences(old, chosen, tmp_path / "old", tmp_path / "new")

    assert {name: found for (name, _), found in found.items()} == {
        "alembic.ini": chosen,
        ".gitignore": POOLED[:2],
    }
    assert all(text.count("-# old") == 1 for _, text in found)


def test_new_and_removed_files_are_shown(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    (other / "x").write_text("text\n")
    assert "+text" in difference(one, other, "x")
    assert "-text" in difference(other, one, "x")


def test_variants_are_named_by_what_they_share() -> None:
    all_of_them = f"{len(VARIANTS)} variants"
    assert where(POOLED, VARIANTS) == f"{len(POOLED)} of {all_of_them}: pool=queuepool"
    assert where(VARIANTS, VARIANTS) == f"{len(VARIANTS)} of {all_of_them}"
    assert where(VARIANTS[:3], VARIANTS).endswith(", ".join(map(str, VARIANTS[:3])))


def test_unknown_revision_is_said(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        export("no-such-revision", tmp_path)
