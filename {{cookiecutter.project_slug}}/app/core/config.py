"""The settings of the service. The README's table says what each is for."""
{% if cookiecutter.__pool == 'queuepool' %}
from pydantic import AnyHttpUrl, NonNegativeFloat, NonNegativeInt, PositiveInt
{%- elif cookiecutter.__pool == 'nullpool' %}
from pydantic import AnyHttpUrl, PositiveInt
{%- endif %}

from app.core.endpoint import RequestURL
from app.core.environment import Seconds, WholeSeconds
from app.logs import LogSettings, configure_logs


class Settings(LogSettings):
    """What the service reads from its environment. Times are in seconds."""

    database_url: RequestURL
    debug: bool = False
    db_connect_timeout: WholeSeconds = 15
    db_command_timeout: Seconds = 30
    db_pool_timeout: Seconds = 30
    db_hold_warning: Seconds = 10
    otel_exporter_otlp_endpoint: AnyHttpUrl | None = None
{%- if cookiecutter.__pool == 'nullpool' %}
    db_max_connections: PositiveInt = 20
{%- elif cookiecutter.__pool == 'queuepool' %}
    db_pool_size: PositiveInt = 5
    db_max_overflow: NonNegativeInt = 10
    db_pool_recycle: WholeSeconds = {{ cookiecutter.__pool_recycle }}
    db_ping_after_idle: NonNegativeFloat = 30
{%- endif %}


configure_logs()
settings = Settings.load()
