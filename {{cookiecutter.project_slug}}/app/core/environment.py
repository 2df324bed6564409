"""How settings are read: from the process environment, or the process stops."""

import os
from pathlib import Path
from typing import Annotated, Any, Self, get_origin

from pydantic import Field, PlainValidator, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.database_url import DatabaseURL, parse_database_url

DatabaseURLVariable = Annotated[DatabaseURL, PlainValidator(parse_database_url)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
WholeSeconds = Annotated[int, Field(gt=0, le=86400)]


class EnvironmentSettings(BaseSettings):
    """Settings whose names are environment variables in upper case."""

    model_config = SettingsConfigDict(
        enable_decoding=False, env_ignore_empty=True, frozen=True
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises SystemExit with a message that names each wrong variable and its
        remedy, and never a value: values hold passwords.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = [cls.describe(details) for details in error.errors()]
        raise SystemExit("\n".join(problems))

    @classmethod
    def variables(cls) -> dict[str, FieldInfo]:
        """Every name that a setting has, and its field."""
        return {
            variable: field
            for name, field in cls.model_fields.items()
            for variable in getattr(
                field.validation_alias, "choices", [field.validation_alias or name]
            )
        }

    @model_validator(mode="before")
    @classmethod
    def read_texts(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read what stands in a file, as secrets do: DATABASE_URL_FILE is its path.

        Several values, those of a tuple, are written `a,b`.
        """
        for variable, field in cls.variables().items():
            path = os.environ.get(f"{variable.upper()}_FILE")
            if path and variable in values:
                msg = f"{variable.upper()} is set, and so is its file: keep one"
                raise ValueError(msg)
            try:
                text = Path(path).read_text(encoding="utf-8").strip() if path else ""
            except (OSError, UnicodeError):
                msg = f"{variable.upper()}_FILE names no file of text: correct it"
                raise ValueError(msg) from None
            if text:
                values[variable] = text
            given = values.get(variable)
            if get_origin(field.annotation) is tuple and isinstance(given, str):
                values[variable] = [part.strip() for part in given.split(",")]
        return values

    @classmethod
    def describe(cls, details: ErrorDetails) -> str:
        """One line about one wrong variable."""
        name = str(next(iter(details["loc"]), ""))
        if details["type"] == "missing":
            remedy = cls.variables()[name].description or "a value"
            return f"{name.upper()} is not set. Set it to {remedy}"
        reason = details.get("ctx", {}).get("error")
        if reason is None:
            return f"{name.upper()}: {details['msg']}"
        return f"{name.upper()} {reason}".lstrip()
