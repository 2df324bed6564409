"""Read a PostgreSQL URL as hosting services and people write it."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.driver import tls_arguments

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CHANNEL_BINDINGS = ("disable", "prefer", "require")
PARAMETERS = (
    "application_name",
    "channel_binding",
    "connect_timeout",
    "host",
    "options",
    "port",
    "sslmode",
    "sslrootcert",
)
MAX_PORT = 65535


@dataclass(frozen=True)
class DatabaseURL:
    """A database's address and the libpq parameters that were written with it."""

    url: URL
    parameters: dict[str, str]

    @property
    def host(self) -> str:
        """The server's host name, address or socket directory; empty if not given."""
        return self.url.host or ""


def parse_database_url(text: str) -> DatabaseURL:
    """Read `text`, a URL such as `postgresql://user:password@host:5432/name`.

    Raises ValueError with a message that says what is wrong and how to mend it.
    The message never holds the password.
    """
    text = text.strip()
    url = read_url(text)
    if url.drivername not in SCHEMES:
        msg = (
            f"has the scheme {url.drivername}://, but this service needs PostgreSQL:"
            " use postgresql://"
        )
        raise ValueError(msg)
    parameters = read_parameters(text, url)
    host = parameters.pop("host", unquote(url.host or ""))
    check_host(host)
    port = url.port
    if "port" in parameters:
        port = int(parameters.pop("port"))
    if port is not None and not 1 <= port <= MAX_PORT:
        msg = f"has a port that is not between 1 and {MAX_PORT}: correct it"
        raise ValueError(msg)
    return DatabaseURL(
        url=URL.create(
            "postgresql+{{ cookiecutter.driver }}",
            username=url.username,
            password=url.password,
            host=host or None,
            port=port,
            database=url.database,
        ),
        parameters=parameters,
    )


def read_url(text: str) -> URL:
    """Split `text` into its parts; raises ValueError as `parse_database_url` does."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or text.count("@") > 1 or "%00" in text:
        msg = (
            "cannot be read as a URL. Write postgresql://USER:PASSWORD@HOST:5432/NAME,"
            " with special characters percent-encoded (@ as %40, / as %2F)"
        )
        raise ValueError(msg)
    return url


def read_query(text: str, url: URL) -> list[tuple[str, str]]:
    """Split the query of `text`, whose other parts are in `url`, as libpq does.

    `make_url` drops empty values and makes spaces of plus signs.
    """
    address = text if url.username is None else text.partition("@")[2]
    query = address.partition("?")[2]
    return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)


def read_parameters(text: str, url: URL) -> dict[str, str]:
    """Check the query of `text`; raises ValueError as `parse_database_url` does."""
    parameters: dict[str, str] = {}
    for name, value in read_query(text, url):
        if name not in PARAMETERS:
            msg = (
                f"has the unknown parameter {name!r}: remove it,"
                f" or correct it to one of {', '.join(PARAMETERS)}"
            )
            raise ValueError(msg)
        if name in parameters:
            msg = f"gives {name} more than once: keep one"
            raise ValueError(msg)
        if not value:
            msg = f"has an empty {name}: give it a value or remove it"
            raise ValueError(msg)
        parameters[name] = value
    check_choice(parameters, "sslmode", SSL_MODES)
    check_choice(parameters, "channel_binding", CHANNEL_BINDINGS)
    check_number(parameters, "connect_timeout")
    check_number(parameters, "port")
    check_tls(parameters)
    return parameters


def check_host(host: str) -> None:
    """Raise ValueError unless `host` can be looked up; a socket's path always can."""
{%- if cookiecutter.driver == 'asyncpg' %}
    if "," in host:
        msg = "names several hosts: keep one, since asyncpg takes them for one name"
        raise ValueError(msg)
{%- endif %}
    if host.startswith("/"):
        return
    try:
        host.encode("idna")
    except UnicodeError:
        msg = "has a host that cannot be a name or an address: correct it"
        raise ValueError(msg) from None


def check_choice(
    parameters: dict[str, str], name: str, choices: tuple[str, ...]
) -> None:
    """Raise ValueError unless parameter `name` is absent or one of `choices`."""
    if parameters.get(name, choices[0]) not in choices:
        msg = f"has an unknown {name}: use one of {', '.join(choices)}"
        raise ValueError(msg)


def check_number(parameters: dict[str, str], name: str) -> None:
    """Raise ValueError unless parameter `name` is absent or a positive integer."""
    value = parameters.get(name, "1")
    if not (value.isascii() and value.isdigit() and int(value)):
        msg = f"has a {name} that is not a whole number above 0: correct it"
        raise ValueError(msg)


def check_tls(parameters: dict[str, str]) -> None:
    """Raise ValueError where the TLS parameters contradict each other or a file."""
    plain = parameters.get("sslmode") == "disable"
    if plain and parameters.get("channel_binding") == "require":
        msg = "asks for channel_binding=require without TLS: use sslmode=require"
        raise ValueError(msg)
    try:
        tls_arguments(parameters)
    except OSError:
        msg = (
            "has an sslrootcert that cannot be read:"
            " give the path of a file of PEM certificates"
        )
        raise ValueError(msg) from None
