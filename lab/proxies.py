"""A TCP proxy on the loopback device that can stop forwarding."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab.listeners import Listener, hand_on, listening


class Proxy(Listener):
    """Forwards to a port of the loopback device, until told otherwise.

    In the hole, connections are accepted and nothing is forwarded, in either
    direction, nor that one has ended. What was sent meanwhile arrives when forwarding
    goes on, as it does after a network failure shorter than TCP's own patience.
    """

    def __init__(self, target: int) -> None:
        """Stand before the server at the port `target`."""
        super().__init__("127.0.0.1", target)
        self.accepted = 0

    async def serve(self) -> None:
        """Accept connections until `stop`."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        await super().serve()

    def let_through(self) -> None:
        """Forward everything, also what waited."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def black_hole(self) -> None:
        """Accept connections and forward nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward one connection in both directions."""
        self.accepted += 1
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._flowing.wait()
                to_reader, to_writer = await asyncio.open_connection(*self.target)
                await asyncio.gather(
                    hand_on(reader, to_writer, self._flowing),
                    hand_on(to_reader, writer, self._flowing),
                )
        finally:
            writer.close()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """Run a proxy to a port of the loopback device."""
    running = Proxy(target)
    with listening(running):
        yield running
