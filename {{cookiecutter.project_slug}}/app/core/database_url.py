"""Read a PostgreSQL URL as hosting services and people write it."""

import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from logging import getLogger
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL

from app.core.driver import DRIVER, PARAMETERS

FORM = re.compile(
    r"(?P<scheme>[A-Za-z0-9+]+)://((?P<user>[^:/?@]*)(:(?P<password>[^@]*))?@)?"
    r"(?P<hosts>[^/?@]*)(/(?P<dbname>[^?@]*))?(\?(?P<query>[^@]*))?"
)
HOST = re.compile(r"(\[(?P<ipv6>[^]]+)\]|(?P<name>[^][:]*))(:(?P<port>[^:]*))?")
SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg")
STRICT_MODES = ("require", "verify-ca", "verify-full")
CHOICES = {
    "channel_binding": ("disable", "prefer", "require"),
    "keepalives": ("0", "1"),
    "sslmode": ("disable", "allow", "prefer", *STRICT_MODES),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": (
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ),
}
# What hosting services append for Prisma and for JavaScript's drivers.
FOREIGN = ("connection_limit", "pgbouncer", "pool_timeout", "supa", "workaround")
TLS = (
    *("channel_binding", "sslcert", "sslkey", "sslmode", "sslnegotiation"),
    "sslrootcert",
)
MAX_PORT = 65535
logger = getLogger(__name__)
UNREADABLE = (
    "cannot be read as a URL. Write postgresql://USER:PASSWORD@HOST:5432/NAME,"
    " with special characters percent-encoded (@ as %40, / as %2F)"
)


@dataclass(frozen=True)
class DatabaseURL:
    """A database's address, and the libpq parameters that were written with it.

    If there are several hosts, they stand in the parameters `host` and `port`.
    """

    url: URL
    parameters: dict[str, str] = field(repr=False)  # `sslpassword` may be one.


def parse_database_url(text: str) -> DatabaseURL:
    """Read `text`, a URL such as `postgresql://user:password@host:5432/name`.

    Raises ValueError with a message that says what is wrong and how to mend it.
    The message never holds the password.
    """
    parts = FORM.fullmatch(text.strip())
    if parts is None or {"\0", "\ufffd"} & set(unquote(text)):
        raise ValueError(UNREADABLE)
    if parts["scheme"] not in SCHEMES:
        msg = (
            f"has the scheme {parts['scheme']}://, but this service needs PostgreSQL:"
            " use postgresql://"
        )
        raise ValueError(msg)
    named = {name: parts[name] for name in ("user", "password", "dbname")}
    parameters = {
        **read_environment(),
        **{name: unquote(part) for name, part in named.items() if part},
        **read_address(parts["hosts"]),
        **read_query(parts["query"] or ""),
    }
    for problem in find_problems(parameters):
        raise ValueError(problem)
    hosts = parameters.get("host", "").split(",")
    if several := len(hosts) > 1:
        ports = parameters.get("port", "5432").split(",")
        parameters["port"] = ",".join(ports * len(hosts) if len(ports) == 1 else ports)
    url = URL.create(
        f"postgresql+{DRIVER}",
        username=parameters.pop("user", None),
        password=parameters.pop("password", None),
        host=None if several else parameters.pop("host", None),
        port=None if several else int(parameters.pop("port", 0)) or None,
        database=parameters.pop("dbname", None),
    )
    return DatabaseURL(url, parameters)


def read_environment() -> dict[str, str]:
    """Return what the environment says of TLS, as libpq reads it."""
    variables = {name: f"PG{name.replace('_', '').upper()}" for name in TLS}
    return {name: os.environ[v] for name, v in variables.items() if os.environ.get(v)}


def read_address(text: str) -> dict[str, str]:
    """Read hosts and ports such as `one:5433,[::1]`; raises ValueError if it cannot."""
    hosts, ports = [], []
    for pair in text.split(","):
        match = HOST.fullmatch(pair)
        if match is None:
            raise ValueError(UNREADABLE)
        hosts.append(unquote(match["ipv6"] or match["name"]))
        ports.append(match["port"] or "")
    address = {"host": ",".join(hosts)} if any(hosts) else {}
    if any(ports):
        address["port"] = ",".join(port or "5432" for port in ports)
    return address


def read_query(text: str) -> dict[str, str]:
    """Read the parameters in `text` as libpq does: a plus sign is no space.

    Raises ValueError for one that is repeated. What is meant for another library is
    left out, with a warning.
    """
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(text.replace("+", "%2B"), keep_blank_values=True):
        if name in FOREIGN or (name, value) == ("schema", "public"):
            logger.warning("left %s out of a database URL: no driver here has it", name)
        elif name in parameters:
            msg = f"gives {name} more than once: keep one"
            raise ValueError(msg)
        elif (name, value) == ("ssl", "true"):
            parameters["sslmode"] = "require"
        else:
            parameters[name] = value
    return parameters


def find_problems(parameters: dict[str, str]) -> Iterator[str]:
    """Say what is wrong with the parameters."""
    for name, value in parameters.items():
        yield from find_parameter_problems(name, value)
    yield from find_host_problems(parameters)
    yield from find_tls_problems(parameters)


def find_parameter_problems(name: str, value: str) -> Iterator[str]:
    """Say what is wrong with one parameter."""
    if not value:
        known = name if name in PARAMETERS else "parameter"
        yield f"has an empty {known}: give it a value or remove it (write & as %26)"
    if name not in PARAMETERS:
        close = get_close_matches(name, PARAMETERS, n=1)
        correction = f", or correct it to {close[0]}" if close else ""
        yield f"has the parameter {name!r}, unknown to {DRIVER}: remove it{correction}"
    if value not in CHOICES.get(name, (value,)):
        yield f"has an unknown {name}: use one of {', '.join(CHOICES[name])}"
    if name == "connect_timeout" and not is_number(value):
        yield "has a connect_timeout that is not a whole number above 0: correct it"


def is_number(text: str) -> bool:
    """Whether `text` is a whole number above 0."""
    return text.isascii() and text.isdigit() and int(text) > 0


def find_host_problems(parameters: dict[str, str]) -> Iterator[str]:
    """Say why hosts cannot be looked up; a socket's path always can."""
    hosts = parameters.get("host", "").split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        yield "has not as many ports as hosts: give one for each, or one for all"
    for port in ports if "port" in parameters else ():
        if not is_number(port) or int(port) > MAX_PORT:
            yield f"has a port that is not between 1 and {MAX_PORT}: correct it"
    if len(hosts) > 1 and "" in hosts:
        yield "has an empty host among others: name each"
    try:
        for host in hosts:
            if not host.startswith("/"):
                host.encode("idna")
    except UnicodeError:
        yield "has a host that cannot be a name or an address: correct it"


def find_tls_problems(parameters: dict[str, str]) -> Iterator[str]:
    """Say where the TLS parameters contradict each other or a file."""
    mode, root = parameters.get("sslmode"), parameters.get("sslrootcert")
    if mode == "disable" and parameters.get("channel_binding") == "require":
        yield "asks for channel_binding=require without TLS: use sslmode=require"
    strict = mode in STRICT_MODES or root == "system"
    if parameters.get("sslnegotiation") == "direct" and not strict:
        yield "asks for sslnegotiation=direct without TLS: use sslmode=require"
    certificate, key = parameters.get("sslcert"), parameters.get("sslkey")
    if (certificate is None) != (key is None):
        yield "has one of sslcert and sslkey: give both"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if root and root != "system":
            context.load_verify_locations(root)
        if certificate:
            context.load_cert_chain(certificate, key, parameters.get("sslpassword", ""))
    except OSError:
        yield (
            "has an sslrootcert, sslcert or sslkey that cannot be read:"
            " give the paths of PEM files"
        )
