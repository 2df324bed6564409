"""How settings are read: from the process environment, or the process stops."""

from typing import Annotated, Self
{% if cookiecutter.__pooled_endpoint %}
from pydantic import AliasChoices, Field, PlainValidator, ValidationError
{%- else %}
from pydantic import Field, PlainValidator, ValidationError
{%- endif %}
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.database_url import DatabaseURL, parse_database_url
{%- if cookiecutter.database == 'neon' %}
from app.core.neon import parse_direct_url
{%- endif %}

DatabaseURLVariable = Annotated[
    DatabaseURL, NoDecode, PlainValidator(parse_database_url)
]
{%- if cookiecutter.database == 'neon' %}
DirectURLVariable = Annotated[DatabaseURL, NoDecode, PlainValidator(parse_direct_url)]
{%- endif %}
Seconds = Annotated[float, Field(gt=0, le=86400)]
WholeSeconds = Annotated[int, Field(gt=0, le=86400)]
{%- if cookiecutter.__pooled_endpoint %}
DIRECT_URL_NAMES = AliasChoices("DATABASE_URL_DIRECT", "DATABASE_URL_UNPOOLED")
{%- endif %}


class EnvironmentSettings(BaseSettings):
    """Settings whose names are environment variables in upper case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

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
    def describe(cls, details: ErrorDetails) -> str:
        """One line about one wrong variable."""
        name = str(details["loc"][0])
        variable = name.upper()
        if details["type"] == "missing":
            field = cls.model_fields[name.lower()]
            return f"{variable} is not set. Set it to {field.description}"
        reason = details.get("ctx", {}).get("error")
        if reason is None:
            return f"{variable}: {details['msg']}"
        return f"{variable} {reason}"
