"""Wrong settings stop the service with a message that names variable and remedy."""

from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.environment import EnvironmentSettings

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
            "DATABASE_URL has the parameter 'sslmod', unknown to {{ cookiecutter.driver }}: remove it,"
            " or correct it to sslmode",
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


def test_several_values_are_written_with_commas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Lists(EnvironmentSettings):
        numbers: tuple[int, ...]
        names: tuple[str, ...] = ()

    monkeypatch.setenv("NUMBERS", "1, 2")

    assert Lists.load().numbers == (1, 2)
    assert Lists.load().names == ()


def test_setting_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "database_url"
    secret.write_text(f"{GOOD_URL}\n")

    settings = load(monkeypatch, DATABASE_URL_FILE=str(secret))

    assert settings.database_url.url.host == "db.example.com"


def test_empty_file_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "database_url"
    empty.write_text("\n")

    with pytest.raises(SystemExit, match=r"^DATABASE_URL is not set"):
        load(monkeypatch, DATABASE_URL_FILE=str(empty))


def test_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^DATABASE_URL_FILE names no file"):
        load(monkeypatch, DATABASE_URL_FILE="/none")


def test_setting_and_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^DATABASE_URL is set, and"):
        load(monkeypatch, DATABASE_URL=GOOD_URL, DATABASE_URL_FILE="/none")
