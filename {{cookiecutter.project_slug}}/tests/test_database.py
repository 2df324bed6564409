"""How the engine pools, and what it logs."""

from logging import INFO, getLogger

from app.core.database import engine
{%- if cookiecutter.__pool == 'queuepool' %}
from app.core.pool import FairQueuePool
{%- elif cookiecutter.__pool == 'nullpool' %}
from app.core.pool import FairNullPool
{%- endif %}
{% if cookiecutter.__pool == 'nullpool' %}

def test_pool() -> None:
    pool = engine.pool
    assert isinstance(pool, FairNullPool)
    assert pool.queue.places == 20
    assert pool.queue.timeout == 30
{%- elif cookiecutter.__pool == 'queuepool' %}

def test_pool() -> None:
    pool = engine.pool
    assert isinstance(pool, FairQueuePool)
    assert pool.queue.places == 15
    assert pool.size() == 5
    assert pool._max_overflow == 10
    assert pool.timeout() == 30
    assert pool._recycle == {{ cookiecutter.__pool_recycle }}
{%- endif %}


def test_statements_are_not_logged() -> None:
    assert not getLogger("sqlalchemy.engine.Engine").isEnabledFor(INFO)
