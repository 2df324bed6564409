"""A front that ends TLS before a PostgreSQL server, which has none of its own here."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme

from lab.listeners import Listener, hand_on, listening

SSL_REQUEST_BYTES = (
    8  # https://www.postgresql.org/docs/current/protocol-message-formats.html
)


def server_context() -> ssl.SSLContext:
    """Return a server's TLS settings, with a throw-away certificate of this machine.

    Like PostgreSQL, the server hands out no session tickets.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.num_tickets = 0
    return context


def newest_tls() -> ssl.SSLContext:
    """Return the settings of a server that takes the client's first curve."""
    return server_context()


def other_curve() -> ssl.SSLContext:
    """Return the settings of a server that takes one curve, as PostgreSQL 17 does.

    https://www.postgresql.org/docs/17/runtime-config-connection.html#GUC-SSL-ECDH-CURVE
    """
    context = server_context()
    context.set_ecdh_curve("prime256v1")
    return context


def older_tls() -> ssl.SSLContext:
    """Return the settings of a server that knows no TLS 1.3."""
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class TlsFront(Listener):
    """Takes clients with TLS alone, and forwards what they say to a server."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Forward to `host` and `port`."""
        super().__init__(host, port)
        self.context = context

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the question for TLS, then forward in both directions."""
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await reader.readexactly(SSL_REQUEST_BYTES)
            writer.write(b"S")
            await writer.start_tls(self.context)
            await self.exchange(reader, writer)

    async def exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hand on what both sides say."""
        to_reader, to_writer = await asyncio.open_connection(*self.target)
        await asyncio.gather(hand_on(reader, to_writer), hand_on(to_reader, writer))


class DirectTlsFront(TlsFront):
    """Takes clients that begin with TLS, as `sslnegotiation=direct` makes them."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Forward to `host` and `port`."""
        super().__init__(host, port, context)
        self.tls = context

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward in both directions."""
        with suppress(OSError, asyncio.CancelledError):
            await self.exchange(reader, writer)


@contextmanager
def tls_front(
    host: str, port: int, context: ssl.SSLContext, *, direct: bool = False
) -> Iterator[TlsFront]:
    """Run a front in a thread of its own."""
    front = (DirectTlsFront if direct else TlsFront)(host, port, context)
    with listening(front):
        yield front
