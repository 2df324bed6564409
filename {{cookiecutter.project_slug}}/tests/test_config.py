"""Wrong settings stop the service with a message that names variable and remedy."""

import pytest

from app.core.config import Settings

GOOD_URL = "postgresql://app:s3cret@db.example.com/app"


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    monkeypatch.delenv("DATABASE_URL")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch, DATABASE_URL=GOOD_URL, DEBUG="true", DB_COMMAND_TIMEOUT="7"
    )

    assert settings.debug is True
    assert settings.db_command_timeout == 7
    assert settings.database_url.url.host == "db.example.com"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({}, "DATABASE_URL is not set. Set it to", id="missing"),
        pytest.param(
            {"DATABASE_URL": ""}, "DATABASE_URL is not set. Set it to", id="empty"
        ),
        pytest.param(
            {"DATABASE_URL": "mysql://app:s3cret@db/app"},
            "DATABASE_URL has the scheme mysql://",
            id="other-database",
        ),
        pytest.param(
            {"DATABASE_URL": f"{GOOD_URL}?sslmod=require"},
            "DATABASE_URL has the unknown parameter 'sslmod': remove it",
            id="unknown-parameter",
        ),
        pytest.param(
            {"DATABASE_URL": GOOD_URL, "DB_COMMAND_TIMEOUT": "soon"},
            "DB_COMMAND_TIMEOUT: Input should be a valid number",
            id="not-a-number",
        ),
        pytest.param(
            {"DATABASE_URL": GOOD_URL, "DB_COMMAND_TIMEOUT": "inf"},
            "DB_COMMAND_TIMEOUT: Input should be less than or equal to 86400",
            id="endless",
        ),
{%- if cookiecutter.__pooled_endpoint %}
        pytest.param(
            {"DATABASE_URL": GOOD_URL, "DATABASE_URL_DIRECT": "sqlite:///s3cret"},
            "DATABASE_URL_DIRECT has the scheme sqlite://",
            id="other-database-direct",
        ),
{%- endif %}
{%- if cookiecutter.database == 'neon' %}
        *(
            pytest.param(
                {
                    "DATABASE_URL": GOOD_URL,
                    name: "postgresql://app:s3cret@ep-a-1-pooler"
                    ".eu-central-1.aws.neon.tech/app",
                },
                "DATABASE_URL_DIRECT names Neon's pooled endpoint (-pooler)",
                id=f"pooled-{name}",
            )
            for name in ("DATABASE_URL_DIRECT", "DATABASE_URL_UNPOOLED")
        ),
{%- endif %}
    ],
)
def test_wrong_setting_stops_the_service(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        load(monkeypatch, **environment)

    assert str(stop.value).startswith(message)
    assert "s3cret" not in str(stop.value)


def test_every_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stop:
        load(monkeypatch, DB_CONNECT_TIMEOUT="0", DEBUG="perhaps")

    for variable in ("DATABASE_URL", "DB_CONNECT_TIMEOUT", "DEBUG"):
        assert variable in str(stop.value)
{%- if cookiecutter.__pooled_endpoint %}


@pytest.mark.parametrize("name", ["DATABASE_URL_DIRECT", "DATABASE_URL_UNPOOLED"])
def test_direct_url_has_two_names(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings = load(monkeypatch, DATABASE_URL=GOOD_URL, **{name: GOOD_URL})

    assert settings.database_url_direct == settings.database_url


def test_direct_url_is_not_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, DATABASE_URL=GOOD_URL).database_url_direct is None
{%- endif %}
