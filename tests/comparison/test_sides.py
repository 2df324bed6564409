"""Each kind of side, and what belongs to its folder."""

from itertools import combinations
from pathlib import Path

from comparison.rendering import render
from lab.projects import Bakery, tree_of
from lab.variants import VARIANTS
from tests.comparison.comparing import compare, compared, pairs
from tests.comparison.test_places import PLACES


def test_rendering_is_the_same_as_with_hooks(bake: Bakery, tmp_path: Path) -> None:
    for number, variant in enumerate(VARIANTS[:: len(VARIANTS) // 6]):
        rendered = render(variant.answers, tmp_path / str(number))
        assert tree_of(rendered) == bake(variant).tree()


def test_presets() -> None:
    data = compared("local-postgres", "production-neon")
    assert (data["a"], data["b"]) == ("local-postgres", "production-neon")
    changed = {each["path"] for each in data["files"]}
    assert ".env.example" in changed
    assert "app/main.py" not in changed
    assert not data["same"]


def test_nothing_is_left_behind_where_nothing_is_rendered(bake: Bakery) -> None:
    """A preset has no folder, and a folder with answers after it is rendered anew."""
    folder = bake(database="pgbouncer").path
    for side in ("staging-pgbouncer", f"{folder},pool=queuepool", str(folder)):
        data = compared(side, "production-neon")
        status = {each["path"]: each["status"] for each in data["files"]}
        assert status["pgbouncer.ini"] == "only in A"
        assert ("pgbouncer.ini" in data["left_behind"]) == (side == str(folder))
        assert (data["remove_command"] is not None) == (side == str(folder))


def test_all_kinds_of_a_side_mean_the_same(bake: Bakery) -> None:
    variant = VARIANTS[-1]
    project = bake(variant).path
    answers_file = project / ".cookiecutter.yaml"
    sides = [str(project), str(answers_file), pairs(variant)]
    for first, second in combinations(sides, 2):
        assert compared(first, second)["same"], (first, second)


def test_answers_may_follow_a_base(bake: Bakery) -> None:
    data = compared("production-neon,pool=nullpool", "serverless-neon")
    assert data["same"]
    folder = bake(database="neon").path
    data = compared(f"{folder},database=postgres", "database=postgres")
    assert data["same"]


def test_relative_paths_are_those_of_the_current_folder(bake: Bakery) -> None:
    project = bake().path
    assert compared(".", ".cookiecutter.yaml", folder=project)["same"]
    assert compared(".", f"../{project.name}", folder=project)["same"]


def test_names_are_taken_from_the_other_side(bake: Bakery) -> None:
    """Otherwise every file with the name of the service would differ."""
    project = bake(project_name="Orders", full_name="Ada").path
    data = compared(project, "database=neon")
    changed = {each["path"] for each in data["files"]}
    assert "app/main.py" not in changed
    assert changed <= PLACES["database"] | PLACES["pool"]


def test_value_may_have_commas(bake: Bakery) -> None:
    project = bake(description="Fast, safe, and small").path
    assert compared(project, "driver=asyncpg,description=Fast, safe, and small")["same"]


def test_value_may_be_longer_than_a_file_name() -> None:
    assert compared(f"description={'long ' * 60}.", "driver=asyncpg")["same"]


def test_value_may_look_like_a_template(bake: Bakery) -> None:
    project = bake(description="{{ '{' }}{ x }}").path
    assert compared(project, project / ".cookiecutter.yaml")["same"]


def test_settings_of_the_person_do_not_matter(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("default_context:\n  full_name: Ada\n  database: neon\n")
    completed = compare(
        *("database=postgres", "driver=asyncpg"),
        COOKIECUTTER_CONFIG=str(settings),
        HOME=str(tmp_path),
    )
    assert "No file differs." in completed.stdout
