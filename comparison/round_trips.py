"""How many round trips to the database a request costs, by rule.

A round trip is a time that the service waits for the network. The tests count them on
the wire: those of requests without TLS, those of a new connection also with TLS.

- A statement costs 1. On asyncpg it costs 2, to prepare and to execute, unless the
  connection keeps it prepared from an earlier request: that needs a pool that keeps
  connections, and both statement caches, which are off behind a pooler.
- A request that writes has a transaction: BEGIN and COMMIT cost 1 each. One that only
  reads is in autocommit, which has neither.
- A new connection costs 4: the question for TLS, the start, and two for SCRAM. TLS 1.3
  costs one more, since its last message travels with the start. It costs two more where
  the server refuses the client's first curve, as PostgreSQL does up to version 17, and
  so does TLS 1.2. A pool that keeps connections does not pay that per request.

The request that reads runs one SELECT, the request that writes one INSERT. Neither is
the first of its connection: then the pool is filled and the statements are prepared.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

BEGIN_AND_COMMIT = 2
CONNECT = {"nullpool": 4, "queuepool": 0}
LEAST_TLS, MOST_TLS = 1, 2


@dataclass(frozen=True)
class RoundTrips:
    """What a request costs without TLS, and how much of that is to connect."""

    read: int
    write: int
    connect: int

    def texts(self) -> dict[str, str]:
        """Write each cost."""
        costs = asdict(self)
        return {name: with_tls(costs[name], self.connect) for name in costs}


def round_trips(answers: Mapping[str, Any]) -> RoundTrips:
    """Return the cost of a request to a service with complete answers."""
    connect = CONNECT[answers["__pool"]]
    prepared = not connect and not answers["__pooled_endpoint"]
    unprepared: int = answers["_drivers"][answers["driver"]]["unprepared"]
    statement = 1 if prepared else unprepared
    read = connect + statement
    return RoundTrips(read, read + BEGIN_AND_COMMIT, connect)


def with_tls(cost: int, connect: int) -> str:
    """Write a cost, and what it is with TLS where that makes a difference."""
    if not connect:
        return str(cost)
    return f"{cost}, with TLS {cost + LEAST_TLS} or {cost + MOST_TLS}"
