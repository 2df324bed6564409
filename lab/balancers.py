"""What stands for a Service of Kubernetes: it hands connections to ready pods in turn."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count

from lab.listeners import Listener, hand_on

Address = tuple[str, int]


class Balancer(Listener):
    """Gives each connection to the next of the addresses that there are at the moment.

    Where there is none, or nothing listens, the connection is closed at once.
    """

    def __init__(
        self, address: Address, endpoints: Callable[[], Sequence[Address]]
    ) -> None:
        """Listen at `address`, where port 0 is any that is free."""
        super().__init__(*address)
        self.address = address
        self.endpoints = endpoints
        self.turns = count()

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward one connection in both directions."""
        try:
            with suppress(OSError, asyncio.CancelledError):
                if not (known := self.endpoints()):
                    return
                target = known[next(self.turns) % len(known)]
                to_reader, to_writer = await asyncio.open_connection(*target)
                await asyncio.gather(
                    hand_on(reader, to_writer), hand_on(to_reader, writer)
                )
        finally:
            writer.close()
