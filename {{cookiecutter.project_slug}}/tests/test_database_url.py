"""URLs as people and hosting services write them."""
{% if cookiecutter.driver == 'asyncpg' %}
import ssl
{%- endif %}
from pathlib import Path
from typing import Any
{%- if cookiecutter.driver == 'asyncpg' %}
from urllib.parse import parse_qsl
{%- endif %}
{% if cookiecutter.driver == 'psycopg' %}
import certifi
{%- endif %}
import pytest

from app.core.database_url import parse_database_url
{%- if cookiecutter.driver == 'asyncpg' %}
from app.core.driver import connect_arguments
{%- elif cookiecutter.driver == 'psycopg' %}
from app.core.driver import PARAMETERS, connect_arguments
{%- endif %}

CONSOLE_URL = (
    "postgresql://app:s3cret@db.example.com/app?sslmode=require&channel_binding=require"
)


def arguments(query: str) -> dict[str, Any]:
    """What the driver is given for a URL that ends in `query`."""
    host = "" if "host=" in query else "db.example.com"
    target = parse_database_url(f"postgresql://app@{host}/app?{query}")
    return connect_arguments(
        target.parameters, application_name="service", connect_timeout=15
    )


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"]
)
def test_scheme_becomes_the_driver(scheme: str) -> None:
    target = parse_database_url(f" {scheme}://app:s3cret@db.example.com:6543/app\n")

    url = target.url.render_as_string(hide_password=False)
    assert url == "postgresql+{{ cookiecutter.driver }}://app:s3cret@db.example.com:6543/app"


def test_password_is_percent_decoded() -> None:
    password = "@ : / % # ?"  # noqa: S105
    target = parse_database_url(
        "postgres://app:%40%20%3A%20%2F%20%25%20%23%20%3F@db.example.com/app"
    )

    assert target.url.password == password
    assert target.url.host == "db.example.com"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("[::1]:5432/app", "::1"),
        ("/app?host=/var/run/postgresql", "/var/run/postgresql"),
        ("%2Fvar%2Frun%2Fpostgresql/app", "/var/run/postgresql"),
        ("/app?host=db.example.com&port=5432", "db.example.com"),
    ],
)
def test_host(address: str, host: str) -> None:
    target = parse_database_url(f"postgresql://{address}")

    assert target.url.host == host
    assert target.url.database == "app"
    assert target.parameters == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app:s3cret", "cannot be read as a URL"),
        ("postgresql://app:s3@cret@db/app", "cannot be read as a URL"),
        ("postgresql://app:s3cret@db:port/app", "has a port"),
        ("mongodb://app:s3cret@db/app", "use postgresql://"),
        (f"{CONSOLE_URL}&sslmod=x", "parameter 'sslmod', .* correct it to sslmode"),
        (f"{CONSOLE_URL}&sslmode=require", "sslmode more than once"),
        ("postgresql://db/app?sslmode=no-verify", "unknown sslmode"),
        ("postgresql://db/app?channel_binding=yes", "unknown channel_binding"),
        ("postgresql://db/app?connect_timeout=0", "connect_timeout"),
        ("postgresql://db/app?port=x", "port"),
        *((f"postgresql://db:{port}/app", "port") for port in (65536, 0, -1)),
        ("postgresql://db..example.com/app", "has a host"),
        ("postgresql://db%00/app", "cannot be read as a URL"),
        ("postgresql://app:%E9s3cret@db/app", "cannot be read as a URL"),
        ("postgresql://db/app?sslmode=", "empty sslmode"),
        ("postgresql://db/app?sslpassword=a&s3cret", "empty parameter"),
        ("postgresql://db/app?schema=other", "parameter 'schema'"),
        ("postgresql://one,two/app?port=1,2,3", "as many ports as hosts"),
        ("postgresql://one,/app", "empty host"),
        ("postgresql://app:x@y?s3cret=1@db/app", "cannot be read as a URL"),
        ("postgresql://db/app?sslmode=verify-full&sslrootcert=/none", "sslrootcert"),
        ("postgresql://db/app?sslmode=disable&channel_binding=require", "without TLS"),
        ("postgresql://db/app?sslnegotiation=direct", "use sslmode=require"),
        ("postgresql://db/app?sslcert=/none", "sslcert and sslkey: give both"),
        ("postgresql://db/app?sslcert=/none&sslkey=/none", "cannot be read"),
    ],
)
def test_wrong_url(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_database_url(text)

    assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("one:5433,two/app", "one,two", "5433,5432"),
        ("[::1]:5432,two:5433/app", "::1,two", "5432,5433"),
        ("/app?host=one,two&port=5432,5433", "one,two", "5432,5433"),
        ("one,two/app?port=5433", "one,two", "5433,5433"),
        ("one,two/app", "one,two", "5432,5432"),
    ],
)
def test_several_hosts(address: str, host: str, port: str) -> None:
    target = parse_database_url(f"postgresql://{address}")

    assert target.url.host is None
    assert target.parameters == {"host": host, "port": port}


@pytest.mark.parametrize(
    "query",
    ["pgbouncer=true&connection_limit=1", "supa=base-pooler.x", "schema=public"],
)
def test_other_libraries_parameters_are_left_out(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = parse_database_url(f"postgresql://db/app?{query}&sslmode=require")

    assert target.parameters == {"sslmode": "require"}
    assert query.partition("=")[0] in caplog.text


def test_tls_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGCHANNELBINDING", "require")

    target = parse_database_url("postgresql://db/app?sslmode=require")

    assert target.parameters == {"channel_binding": "require", "sslmode": "require"}


def test_wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "no-verify")

    with pytest.raises(ValueError, match="unknown sslmode"):
        parse_database_url("postgresql://db/app")


def test_ssl_of_jdbc() -> None:
    target = parse_database_url("postgresql://db/app?ssl=true")

    assert target.parameters == {"sslmode": "require"}
{%- if cookiecutter.driver == 'asyncpg' %}


def handed_on(query: str) -> dict[str, str]:
    """The parameters that asyncpg reads by itself."""
    given = parse_qsl(arguments(query)["dsn"].partition("?")[2])
    return dict(given)


def test_defaults() -> None:
    assert handed_on("") == {"application_name": "service"}
    assert arguments("")["timeout"] == 15
    assert "ssl" not in arguments("")


@pytest.mark.parametrize(
    "given",
    [
        {"application_name": "a+b", "options": "endpoint=ep-a-1"},
        {"sslmode": "disable"},
        {"sslmode": "require", "sslnegotiation": "direct"},
        {"target_session_attrs": "read-write"},
    ],
)
def test_parameters_are_passed_on(given: dict[str, str]) -> None:
    query = "&".join(f"{name}={value}" for name, value in given.items())

    assert handed_on(query) == {"application_name": "service"} | given


def test_standby_is_looked_for_first() -> None:
    query = "host=::1,two&port=1,2&target_session_attrs=prefer-standby"

    addresses = arguments(query)["async_creator_fn"].args[1]

    assert [tuple(address.values()) for address in addresses] == [
        ("::1", 1, "standby"),
        ("two", 2, "standby"),
        ("::1", 1, "any"),
        ("two", 2, "any"),
    ]


def test_url_wins_over_the_default_timeout() -> None:
    assert arguments("connect_timeout=3")["timeout"] == 3
    assert handed_on("connect_timeout=3") == {"application_name": "service"}


@pytest.mark.parametrize(
    ("query", "checks_host"),
    [
        ("channel_binding=require", True),
        ("sslmode=require&channel_binding=require", True),
        ("sslmode=verify-ca", False),
        ("sslmode=verify-ca&channel_binding=require", True),
        ("sslmode=verify-full", True),
        ("sslrootcert=system", True),
    ],
)
def test_verified_certificate(query: str, *, checks_host: bool) -> None:
    context = arguments(query)["ssl"]

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is checks_host


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_root_certificate_must_be_one(mode: str, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(ssl.DER_cert_to_PEM_cert(b"not a certificate"))

    with pytest.raises(ValueError, match="sslrootcert"):
        arguments(f"sslmode={mode}&sslrootcert={ca_file}")
{%- elif cookiecutter.driver == 'psycopg' %}


def libpq(query: str) -> dict[str, Any]:
    """The parameters that libpq is given."""
    given = arguments(query)
    return {name: given[name] for name in given if name in PARAMETERS}


def test_defaults() -> None:
    assert libpq("") == {"application_name": "service", "connect_timeout": 15}


@pytest.mark.parametrize(
    "given",
    [
        {"application_name": "a+b", "channel_binding": "require"},
        {"connect_timeout": "3", "options": "endpoint=ep-a-1", "sslmode": "require"},
        {"gssencmode": "disable", "tcp_user_timeout": "5000", "keepalives_idle": "9"},
        {"host": "one,two", "port": "1,2", "target_session_attrs": "read-write"},
    ],
)
def test_parameters_are_passed_on(given: dict[str, str]) -> None:
    query = "&".join(f"{name}={value}" for name, value in given.items())

    assert libpq(query).items() >= given.items()


@pytest.mark.parametrize(
    "query", ["sslmode=verify-full", "sslmode=verify-ca", "sslrootcert=system"]
)
def test_public_authorities(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    ca_file = Path(arguments(query)["sslrootcert"])

    assert "BEGIN CERTIFICATE" in ca_file.read_text()


def test_system_authorities_verify_the_host() -> None:
    assert arguments("sslrootcert=system")["sslmode"] == "verify-full"


def test_own_authority(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(Path(certifi.where()).read_text())

    given = arguments(f"sslmode=verify-full&sslrootcert={ca_file}")

    assert given["sslrootcert"] == str(ca_file)


def test_own_authority_must_be_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sslrootcert"):
        arguments(f"sslmode=verify-full&sslrootcert={tmp_path}")
{%- endif %}
