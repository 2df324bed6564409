"""Say how to start the new project, and remove a folder that no answer has filled."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress


def closing_message(answers: Mapping[str, object]) -> str:
    """Return the next commands for the project that the answers describe."""
    return "\n".join(
        [
            "",
            "The project is ready. To start it:",
            "",
            f"    cd {answers['project_slug']}",
            "    cp .env.example .env",
            *fill_in(answers),
            *start(answers),
            "",
            "The API documentation is then at http://localhost:8000/docs",
            "Without Docker, it starts with: uv run -m app.dev",
            "To run the tests:",
            "",
            "    uv sync",
            "    uv run pytest",
            "",
        ]
    )


def fill_in(answers: Mapping[str, object]) -> list[str]:
    """Name the settings that have no default."""
    databases = answers["_databases"]
    assert isinstance(databases, dict)  # noqa: S101 (the hook before this one has checked)
    variables = databases[answers["database"]]["fill_in"]
    if not variables:
        return []
    return ["", f"Fill in {' and '.join(variables)} in .env. Then:", ""]


def start(answers: Mapping[str, object]) -> list[str]:
    """Return the commands that migrate the database and start the API."""
    if answers["migrate_service"]:
        return ["    docker compose up --build"]
    return [
        "    docker compose build",
        "    docker compose run --rm api alembic upgrade head",
        "    docker compose up",
    ]


def main() -> None:
    """Remove the empty folder, and print the closing message."""
    with suppress(OSError):  # A file in it is a person's own, or an answer's.
        os.rmdir("kubernetes")  # noqa: PTH106 (pathlib takes its time at every render)
    answers: dict[str, object] = json.loads(r"""{{ cookiecutter | tojson }}""")
    if "_output_dir" not in answers:
        return  # cruft runs this hook for every render that it compares.
    # Cookiecutter deletes the project when a hook fails, so a reader that has
    # closed the pipe must not make this one fail.
    with suppress(OSError):
        os.write(1, (closing_message(answers) + "\n").encode())


if __name__ == "__main__":
    main()
