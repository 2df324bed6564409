"""How the process logs: every record with its time, its logger and its request."""

import logging
import time
from contextlib import suppress
from typing import Annotated, Literal

from opentelemetry import trace
from pydantic import BeforeValidator, ValidationError
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app.core.environment import EnvironmentSettings
from app.work import request

PLAIN = "%(asctime)s %(levelname)s %(name)s [%(ids)s] %(message)s"
JSON_FIELDS = {
    "asctime": "time",
    "levelname": "level",
    "name": "logger",
    "message": "message",
}
NOT_IN_JSON = [*RESERVED_ATTRS, "color_message", "ids"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LogSettings(EnvironmentSettings):
    """What every program of the service reads about its log."""

    log_level: Annotated[Level, BeforeValidator(str.upper)] = "INFO"
    log_format: Literal["plain", "json"] = "plain"


def configure_logs() -> None:
    """Write the records of every logger to standard error, uvicorn's among them.

    What somebody else has configured for the root logger stays, as pytest's handlers do.
    """
    settings = LogSettings.model_construct()
    with suppress(ValidationError):  # Whoever loads all settings says what is wrong.
        settings = LogSettings()
    formatter = (
        JsonFormatter(
            list(JSON_FIELDS), rename_fields=JSON_FIELDS, reserved_attrs=NOT_IN_JSON
        )
        if settings.log_format == "json"
        else logging.Formatter(PLAIN)
    )
    formatter.converter = time.gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    handler = logging.StreamHandler()
    handler.addFilter(add_ids)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        if logger.handlers:  # It has none with --no-access-log.
            logger.handlers.clear()
            logger.propagate = True


def add_ids(record: logging.LogRecord) -> bool:
    """Give a record the ids of its request and its trace, where it has them."""
    ids = {}
    if scope := request.get():
        ids["request_id"] = scope["state"]["request_id"]
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        ids["trace_id"] = trace.format_trace_id(span.trace_id)
    record.__dict__.update(ids, ids=" ".join(ids.values()) or "-")
    return True
