"""How many round trips to the database a request costs, by rule.

A round trip is a time that the service waits for the network.
`tests/comparison/test_compare.py` counts them on the wire: those of requests without
TLS, those of a new connection also with TLS.

- A statement costs 1. On asyncpg it costs 2, to prepare and to execute, unless the
  connection keeps it prepared from an earlier request: that needs a pool that keeps
  connections, and both statement caches.
- BEGIN and COMMIT cost 1 each. Autocommit has neither.
- A new connection costs 4: the question for TLS, the start, and two for SCRAM. TLS 1.3
  costs one more, since its last message travels with the start. It costs two more where
  the server refuses the client's first curve, as PostgreSQL does up to version 17, and
  so does TLS 1.2. A pool that keeps connections does not pay that per request.
- `pool_pre_ping` costs 1 on psycopg. On asyncpg it is a transaction of its own around
  an empty statement.

The request that reads runs one SELECT, the request that writes one INSERT. Neither is
the first of its connection: then the pool is filled and the statements are prepared.
"""

from environments.engine import Engine

CONNECT = 4
LEAST_TLS, MOST_TLS = 1, 2
BEGIN_AND_COMMIT = 2


def statement_cost(engine: Engine) -> int:
    """Return the round trips of one statement."""
    if engine.driver == "asyncpg" and not engine.keeps_statements:
        return 2
    return 1


def ping_cost(engine: Engine) -> int:
    """Return the round trips of the check before each request."""
    if not engine.pings:
        return 0
    if engine.driver == "asyncpg":
        return BEGIN_AND_COMMIT + statement_cost(engine)
    return 1


def connect_cost(engine: Engine) -> int:
    """Return the round trips that a request spends on a new connection."""
    return 0 if engine.keeps_connections else CONNECT


def transaction_cost(autocommit: set[bool]) -> int:
    """Return the round trips around the statements of a request, where there are any."""
    return 0 if autocommit == {True} else BEGIN_AND_COMMIT


def read_cost(engine: Engine) -> int:
    """Return the round trips of a request that reads, without TLS."""
    fixed = connect_cost(engine) + ping_cost(engine)
    return fixed + transaction_cost(engine.reads_in_autocommit) + statement_cost(engine)


def write_cost(engine: Engine) -> int:
    """Return the round trips of a request that writes, without TLS."""
    fixed = connect_cost(engine) + ping_cost(engine)
    return (
        fixed + transaction_cost(engine.writes_in_autocommit) + statement_cost(engine)
    )


def round_trip_facts(engine: Engine) -> list[tuple[str, str]]:
    """Return the facts about round trips."""
    connect = connect_cost(engine)
    return [
        ("A request that reads", with_tls(read_cost(engine), connect)),
        ("A request that writes", with_tls(write_cost(engine), connect)),
        ("Of these, to connect", with_tls(connect, connect)),
    ]


def with_tls(cost: int, connect: int) -> str:
    """Write a cost, and what it is with TLS where that makes a difference."""
    if not connect:
        return str(cost)
    return f"{cost}, with TLS {cost + LEAST_TLS} or {cost + MOST_TLS}"
