"""The settings of the service. The README's table says what each is for."""
{% if cookiecutter.__pool == 'queuepool' %}
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
{%- elif cookiecutter.__pool == 'nullpool' %}
from pydantic import Field, PositiveInt
{%- endif %}
{% if cookiecutter.database == 'neon' %}
from app.core.environment import (
    DIRECT_URL_NAMES,
    DatabaseURLVariable,
    DirectURLVariable,
    EnvironmentSettings,
    Seconds,
    WholeSeconds,
)
{%- elif cookiecutter.database == 'pgbouncer' %}
from app.core.environment import (
    DIRECT_URL_NAMES,
    DatabaseURLVariable,
    EnvironmentSettings,
    Seconds,
    WholeSeconds,
)
{%- else %}
from app.core.environment import (
    DatabaseURLVariable,
    EnvironmentSettings,
    Seconds,
    WholeSeconds,
)
{%- endif %}


class Settings(EnvironmentSettings):
    """What the service reads from its environment. Times are in seconds."""

    database_url: DatabaseURLVariable = Field(
{%- if cookiecutter.database == 'neon' %}
        description="the pooled URL from Neon's console, with -pooler in its host"
{%- elif cookiecutter.database == 'pgbouncer' %}
        description="PgBouncer's URL: postgresql://USER:PASSWORD@HOST:PORT/NAME"
{%- else %}
        description="the server's URL: postgresql://USER:PASSWORD@HOST:5432/NAME"
{%- endif %}
    )
{%- if cookiecutter.database == 'neon' %}
    database_url_direct: DirectURLVariable | None = Field(
        default=None, validation_alias=DIRECT_URL_NAMES
    )
{%- elif cookiecutter.database == 'pgbouncer' %}
    database_url_direct: DatabaseURLVariable | None = Field(
        default=None, validation_alias=DIRECT_URL_NAMES
    )
{%- endif %}
    debug: bool = False
    db_connect_timeout: WholeSeconds = 15
    db_command_timeout: Seconds = 30
    db_pool_timeout: Seconds = 30
{%- if cookiecutter.__pool == 'nullpool' %}
    db_max_connections: PositiveInt = 20
{%- elif cookiecutter.__pool == 'queuepool' %}
    db_pool_size: PositiveInt = 5
    db_max_overflow: NonNegativeInt = 10
    db_pool_recycle: WholeSeconds = {{ cookiecutter.__pool_recycle }}
    db_ping_after_idle: NonNegativeFloat = 30
{%- endif %}


settings = Settings.load()
