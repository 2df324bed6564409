"""What a record looks like, and what it says of a request without a user's data."""

import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest
from httpx2 import ASGITransport, AsyncClient
from opentelemetry import trace

from app.errors import Application
from app.logs import configure_logs
from app.work import begin_request

ADA = {"name": "Ada Lovelace", "email": "ada@example.com"}
Configure = Callable[..., None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configure the log as a process does that has `settings` in its environment."""
    root = logging.getLogger()
    level = root.level

    def run(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(root, "handlers", [])
        configure_logs()

    yield run
    root.setLevel(level)


async def log_in_a_request() -> None:
    """Log as a traced request does that came with an id."""

    async def send(_: object) -> None:
        pass

    headers = [(b"x-request-id", b"abc-1")]
    begin_request({"type": "http", "headers": headers}, send)
    context = trace.SpanContext(trace_id=1, span_id=2, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        logging.getLogger("uvicorn.error").info("it is %s", "late")


async def test_plain(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("app").debug("left out")
    logging.getLogger("app").warning("no request")
    await log_in_a_request()

    first, second = capsys.readouterr().err.splitlines()
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"{time} WARNING app \[-\] no request", first)
    ids = rf"\[abc-1 {1:032}\]"
    assert re.fullmatch(rf"{time} INFO uvicorn\.error {ids} it is late", second)


async def test_json(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(LOG_FORMAT="json", LOG_LEVEL="info")
    await log_in_a_request()

    record = json.loads(capsys.readouterr().err)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "INFO",
        "logger": "uvicorn.error",
        "message": "it is late",
        "request_id": "abc-1",
        "trace_id": f"{1:032}",
    }


@pytest.mark.parametrize("access", [True, False])
def test_uvicorn_logs_in_the_same_form(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    access: bool,
) -> None:
    logger = logging.getLogger("uvicorn.access")
    # As uvicorn leaves it, without and with --no-access-log.
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()] * access)
    monkeypatch.setattr(logger, "propagate", False)
    configure()

    logger.info("GET /users")

    assert capsys.readouterr().err.endswith("[-] GET /users\n" * access)


async def test_id_is_answered(offline_client: AsyncClient) -> None:
    for path in ("/health/live", "/users"):
        response = await offline_client.get(path, headers={"X-Request-ID": "abc-1"})
        assert response.headers["x-request-id"] == "abc-1"


async def test_mounted_application_is_part_of_the_request() -> None:
    outer = Application()
    outer.mount("/inner", Application())
    transport = ASGITransport(outer)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/inner/none")

    assert len(response.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("given", ["", "two words", "a\tb", '"', "é", "a" * 101])
async def test_id_that_might_harm_the_log_is_replaced(
    offline_client: AsyncClient, given: str
) -> None:
    headers = [(b"X-Request-ID", given.encode())]
    response = await offline_client.get("/health/live", headers=headers)

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


async def test_conflict_is_one_line_without_data(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for _ in range(2):
        await client.post("/users", json=ADA)

    [record] = [each for each in caplog.records if each.name == "app.errors"]
    message = record.getMessage()
    assert re.match("409 from write_user, line [0-9]+: .*uq_users_email", message)
    assert "\n" not in message
    assert not re.search("ada", message, re.IGNORECASE)


async def test_outage_is_one_line_without_password(
    offline_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    await offline_client.get("/users")
    await offline_client.get("/health/db")

    request, check = caplog.messages
    assert request.startswith("database unavailable: ")
    assert check.startswith("database check: ")
    for message in caplog.messages:
        assert "Connect" in message or "connection" in message
        assert "\n" not in message
        assert "secret" not in message
