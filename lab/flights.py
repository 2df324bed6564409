"""Counts the round trips between a client and a PostgreSQL server, on the wire."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab.listeners import Listener, listening

TERMINATE = b"X\x00\x00\x00\x04"


class FlightCounter(Listener):
    """A TCP proxy that counts flights: runs of data from the client to the server.

    A flight starts when the client speaks after the server has, or first of all, so
    each one costs a round trip. The message that ends a connection is not counted:
    nobody waits for its answer. `delay` seconds are added to each flight.
    """

    def __init__(self, host: str, port: int, delay: float = 0) -> None:
        """Forward to `host` and `port`."""
        super().__init__(host, port)
        self.delay = delay
        self.flights = 0
        self.connections = 0

    def take(self) -> tuple[int, int]:
        """Return the flights and the connections since the last call."""
        taken = (self.flights, self.connections)
        self.flights = self.connections = 0
        return taken

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward one connection in both directions."""
        self.connections += 1
        to_reader, to_writer = await asyncio.open_connection(*self.target)
        server_spoke = True

        async def upstream() -> None:
            nonlocal server_spoke
            while data := await reader.read(65536):
                if data != TERMINATE and server_spoke:
                    self.flights += 1
                    server_spoke = False
                    if self.delay:
                        # asyncio.sleep() rounds up to whole milliseconds.
                        await asyncio.to_thread(time.sleep, self.delay)
                to_writer.write(data)
                await to_writer.drain()
            to_writer.close()

        async def downstream() -> None:
            nonlocal server_spoke
            while data := await to_reader.read(65536):
                server_spoke = True
                writer.write(data)
                await writer.drain()
            writer.close()

        # Cancelled is what a connection is that outlives the counter.
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(upstream(), downstream())


@contextmanager
def flight_counter(host: str, port: int, delay: float = 0) -> Iterator[FlightCounter]:
    """Run a FlightCounter in a thread of its own."""
    counter = FlightCounter(host, port, delay)
    with listening(counter):
        yield counter
