"""URLs as people and hosting services write them."""
{% if cookiecutter.driver == 'asyncpg' %}
import ssl
from pathlib import Path
from typing import Any

import pytest
{%- else %}
from pathlib import Path
from typing import Any

import certifi
import pytest
{%- endif %}

from app.core.database_url import parse_database_url
from app.core.driver import connect_arguments

CONSOLE_URL = (
    "postgresql://app:s3cret@db.example.com/app?sslmode=require&channel_binding=require"
)


def arguments(query: str) -> dict[str, Any]:
    """What the driver is given for a URL that ends in `query`."""
    target = parse_database_url(f"postgresql://app@db.example.com/app?{query}")
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
        ("postgresql://app:s3cret@db:port/app", "cannot be read as a URL"),
        ("mongodb://app:s3cret@db/app", "use postgresql://"),
        (f"{CONSOLE_URL}&pgbouncer=true", "unknown parameter 'pgbouncer'"),
        (f"{CONSOLE_URL}&sslmode=require", "sslmode more than once"),
        ("postgresql://db/app?sslmode=no-verify", "unknown sslmode"),
        ("postgresql://db/app?channel_binding=yes", "unknown channel_binding"),
        ("postgresql://db/app?connect_timeout=0", "connect_timeout"),
        ("postgresql://db/app?port=x", "port"),
        *((f"postgresql://db:{port}/app", "port") for port in (65536, 0, -1)),
        ("postgresql://db..example.com/app", "has a host"),
        ("postgresql://db%00/app", "cannot be read as a URL"),
        ("postgresql://db/app?sslmode=", "empty sslmode"),
        ("postgresql://db/app?pgbouncer", "unknown parameter 'pgbouncer'"),
{%- if cookiecutter.driver == 'asyncpg' %}
        ("postgresql://one,two/app", "several hosts"),
{%- endif %}
        ("postgresql://app:x@y?s3cret=1@db/app", "cannot be read as a URL"),
        ("postgresql://db/app?sslmode=verify-full&sslrootcert=/none", "sslrootcert"),
        ("postgresql://db/app?sslmode=disable&channel_binding=require", "without TLS"),
    ],
)
def test_wrong_url(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_database_url(text)

    assert "cret" not in str(error.value)
{% if cookiecutter.driver == 'asyncpg' %}

def test_defaults() -> None:
    assert arguments("") == {
        "timeout": 15,
        "server_settings": {"application_name": "service"},
    }


def test_url_wins_over_defaults() -> None:
    query = "application_name=a+b&connect_timeout=3&options=endpoint%3Dep-a-1"

    assert arguments(query) == {
        "timeout": 3,
        "server_settings": {"application_name": "a+b", "options": "endpoint=ep-a-1"},
    }


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_mode_without_verification(mode: str) -> None:
    assert arguments(f"sslmode={mode}")["ssl"] == mode


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
def test_root_certificate_is_verified_against(mode: str, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(ssl.DER_cert_to_PEM_cert(b"not a certificate"))

    with pytest.raises(ValueError, match="sslrootcert"):
        arguments(f"sslmode={mode}&sslrootcert={ca_file}")
{%- else %}

def test_defaults() -> None:
    assert arguments("") == {"application_name": "service", "connect_timeout": 15}


def test_parameters_are_passed_on_as_given() -> None:
    parameters = {
        "application_name": "a+b",
        "channel_binding": "require",
        "connect_timeout": "3",
        "options": "endpoint=ep-a-1",
        "sslmode": "require",
    }
    query = "&".join(f"{name}={value}" for name, value in parameters.items())

    assert arguments(query.replace("endpoint=", "endpoint%3D")) == parameters


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
