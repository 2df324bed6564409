"""URLs as people and hosting services write them."""

import pytest

from app.core.database_url import parse_database_url

CONSOLE_URL = (
    "postgresql://app:s3cret@db.example.com/app?sslmode=require&channel_binding=require"
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
