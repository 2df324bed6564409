"""Which URL each of API, migrations and tests uses, and what its TLS is."""

import ast
from pathlib import Path

from environments import syntax
from environments.compose import address, parameters_of
from environments.engine import DRIVER
from environments.services import COMPOSE, COMPOSE_TEST, services_of
from environments.syntax import (
    CONFIG,
    ENVIRONMENT,
    MIGRATIONS,
    Setting,
    UnreadableError,
)

TESTS = "tests/__init__.py"
TEST_FIXTURES = "tests/conftest.py"
SQLITE = "sqlite"
TEST_VARIABLE = "TEST_DATABASE_URL"


def api_url(folder: Path) -> Setting:
    """Return the setting that holds the URL for requests."""
    return first_url(syntax.settings_of(folder, CONFIG), CONFIG)


def migration_url(folder: Path) -> Setting:
    """Return the setting that holds the URL for migrations."""
    return first_url(syntax.settings_of(folder, MIGRATIONS), MIGRATIONS)


def first_url(settings: dict[str, Setting], name: str) -> Setting:
    """Return the first required setting that is a URL."""
    for setting in settings.values():
        if setting.required and "url" in setting.name:
            return setting
    message = f"{name} requires no URL"
    raise UnreadableError(message)


def url_facts(folder: Path) -> list[tuple[str, str]]:
    """Return the facts about the three URLs, in the code and in Compose."""
    api, migrations = api_url(folder), migration_url(folder)
    return [
        ("API", describe(api, folder)),
        ("Migrations", describe(migrations, folder)),
        ("Tests", tests_url(folder)),
        ("API in Compose", in_compose(folder, COMPOSE, api.variables, ["api"])),
        (
            "Migrations in Compose",
            in_compose(folder, COMPOSE, migrations.variables, ["migrate", "api"]),
        ),
        ("Tests in Compose", in_compose(folder, COMPOSE_TEST, (TEST_VARIABLE,), [])),
    ]


def describe(setting: Setting, folder: Path) -> str:
    """Say which variables hold a URL, what it is, and what is refused."""
    text = " or ".join(setting.variables)
    if setting.description:
        text += f": {setting.description}"
    if refuses_pooled(setting.kind, folder):
        text += "; a -pooler host is refused"
    return text


def refuses_pooled(kind: str, folder: Path) -> bool:
    """Tell whether the type of a setting refuses Neon's pooled endpoint."""
    validator = syntax.assignments(syntax.parse(folder, ENVIRONMENT)).get(kind)
    return validator is not None and "parse_direct_url" in syntax.names(validator)


def tests_url(folder: Path) -> str:
    """Say which database the tests use."""
    named = TEST_VARIABLE in syntax.texts(syntax.parse(folder, TESTS))
    fixtures = syntax.texts(syntax.parse(folder, TEST_FIXTURES))
    local = any(text.startswith(SQLITE) for text in fixtures)
    choices = [TEST_VARIABLE] * named + ["SQLite in memory"] * local
    return ", else ".join(choices) or "none"


def in_compose(
    folder: Path, file: str, variables: tuple[str, ...], preferred: list[str]
) -> str:
    """Say where the first service that has one of the variables connects to."""
    services = services_of(folder, file)
    order = [name for name in preferred if name in services]
    for name in order or services:
        for variable in variables:
            value = services[name].environment.get(variable)
            if value is not None:
                return f"{address(value)} (service {name})"
    return "not set"


def tls_facts(folder: Path) -> list[tuple[str, str]]:
    """Return the facts about TLS: who asks for it, and how strict the driver is."""
    functions = syntax.functions(syntax.parse(folder, DRIVER))
    if "tls_arguments" not in functions:
        message = f"{DRIVER} has no function tls_arguments"
        raise UnreadableError(message)
    return [
        ("In Compose", asked_in_compose(folder)),
        ("channel_binding=require", binding(functions["tls_arguments"])),
        ("verify-full trusts", trusted(syntax.parse(folder, DRIVER))),
    ]


def asked_in_compose(folder: Path) -> str:
    """Say whether the URL that Compose gives to the API asks for TLS."""
    services = services_of(folder, COMPOSE)
    api = services.get("api")
    value = api.environment.get(api_url(folder).variables[0]) if api else None
    if value is None:
        return "not set"
    if address(value).endswith("in .env"):
        return f"as {address(value).removesuffix(' in .env')} asks for it (sslmode)"
    mode = parameters_of(value).get("sslmode")
    return f"sslmode={mode[0]}" if mode else "not asked for; used if the server has it"


def binding(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Say what becomes of the parameter that Neon's URLs carry."""
    handled = "channel_binding" in set(syntax.texts(function))
    if handled:
        return "becomes sslmode=verify-full: the driver has no channel binding"
    return "passed on to the driver, which binds the channel"


def trusted(tree: ast.Module) -> str:
    """Say which certificate authorities the driver trusts."""
    used = syntax.names(tree)
    if "certifi" in used:
        return "the machine's authorities, else certifi's"
    if "create_default_context" in used:
        return "the machine's authorities"
    return "the driver's default"
