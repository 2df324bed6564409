"""Read a PostgreSQL URL as hosting services and people write it."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.driver import tls_arguments

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg")
CHOICES = {
    "channel_binding": ("disable", "prefer", "require"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
}
NUMBERS = ("connect_timeout", "port")
TEXTS = ("application_name", "host", "options", "sslrootcert")
PARAMETERS = sorted([*CHOICES, *NUMBERS, *TEXTS])
MAX_PORT = 65535
UNREADABLE = (
    "cannot be read as a URL. Write postgresql://USER:PASSWORD@HOST:5432/NAME,"
    " with special characters percent-encoded (@ as %40, / as %2F)"
)


@dataclass(frozen=True)
class DatabaseURL:
    """A database's address and the libpq parameters that were written with it."""

    url: URL
    parameters: dict[str, str]


def parse_database_url(text: str) -> DatabaseURL:
    """Read `text`, a URL such as `postgresql://user:password@host:5432/name`.

    Raises ValueError with a message that says what is wrong and how to mend it.
    The message never holds the password.
    """
    text = text.strip()
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(UNREADABLE) from None
    query = read_query(text, url)
    for problem in find_problems(text, url, query):
        raise ValueError(problem)
    parameters = dict(query)
    host = parameters.pop("host", unquote(url.host or ""))
    port = parameters.pop("port", url.port)
    return DatabaseURL(
        url=URL.create(
            "postgresql+{{ cookiecutter.driver }}",
            username=url.username,
            password=url.password,
            host=host or None,
            port=None if port is None else int(port),
            database=url.database,
        ),
        parameters=parameters,
    )


def read_query(text: str, url: URL) -> list[tuple[str, str]]:
    """Split the query of `text`, whose other parts are in `url`, as libpq does.

    `make_url` drops empty values and makes spaces of plus signs.
    """
    address = text if url.username is None else text.partition("@")[2]
    query = address.partition("?")[2]
    return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)


def find_problems(text: str, url: URL, query: list[tuple[str, str]]) -> Iterator[str]:
    """Say what is wrong with a URL and its query, the first thing first."""
    if text.count("@") > 1 or "%00" in text:
        yield UNREADABLE
    if url.drivername not in SCHEMES:
        yield (
            f"has the scheme {url.drivername}://, but this service needs PostgreSQL:"
            " use postgresql://"
        )
    parameters: dict[str, str] = {}
    for name, value in query:
        if name not in PARAMETERS:
            yield (
                f"has the unknown parameter {name!r}: remove it,"
                f" or correct it to one of {', '.join(PARAMETERS)}"
            )
        if name in parameters:
            yield f"gives {name} more than once: keep one"
        if not value:
            yield f"has an empty {name}: give it a value or remove it"
        if value not in CHOICES.get(name, (value,)):
            yield f"has an unknown {name}: use one of {', '.join(CHOICES[name])}"
        if name in NUMBERS and not (value.isascii() and value.isdigit() and int(value)):
            yield f"has a {name} that is not a whole number above 0: correct it"
        parameters[name] = value
    port = parameters.get("port", url.port)
    if port is not None and not 1 <= int(port) <= MAX_PORT:
        yield f"has a port that is not between 1 and {MAX_PORT}: correct it"
    yield from find_host_problems(parameters.get("host", unquote(url.host or "")))
    yield from find_tls_problems(parameters)


def find_host_problems(host: str) -> Iterator[str]:
    """Say why `host` cannot be looked up; a socket's path always can."""
{%- if cookiecutter.driver == 'asyncpg' %}
    if "," in host:
        yield "names several hosts: keep one, since asyncpg takes them for one name"
{%- endif %}
    try:
        if not host.startswith("/"):
            host.encode("idna")
    except UnicodeError:
        yield "has a host that cannot be a name or an address: correct it"


def find_tls_problems(parameters: dict[str, str]) -> Iterator[str]:
    """Say where the TLS parameters contradict each other or a file."""
    plain = parameters.get("sslmode") == "disable"
    if plain and parameters.get("channel_binding") == "require":
        yield "asks for channel_binding=require without TLS: use sslmode=require"
    try:
        tls_arguments(parameters)
    except OSError:
        yield (
            "has an sslrootcert that cannot be read:"
            " give the path of a file of PEM certificates"
        )
