"""A TCP server of the tests' own, in a thread of its own."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK = 65536
BACKLOG = 512  # Of clients that connect at the same moment.


class Listener:
    """Listens on a free port of this machine; `forward` serves each connection."""

    tls: ssl.SSLContext | None = None  # For clients that begin with TLS.
    address = ("127.0.0.1", 0)  # Where it listens.

    def __init__(self, host: str, port: int) -> None:
        """Stand before the server at `host` and `port`."""
        self.target = (host, port)
        self.port = 0
        self.ready = threading.Event()

    async def serve(self) -> None:
        """Accept connections until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(
            self.forward, *self.address, backlog=BACKLOG, ssl=self.tls
        )
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self._stopping.wait()
        server.close()

    def stop(self) -> None:
        """Accept no more, and drop the connections that there are."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection."""
        raise NotImplementedError


async def hand_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    flowing: asyncio.Event | None = None,
) -> None:
    """Hand on every byte and the end, each only while `flowing` is set."""
    data = b"more"
    try:
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            if flowing is not None:
                await flowing.wait()
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Run a listener in a thread of its own."""
    thread = threading.Thread(target=asyncio.run, args=[listener.serve()], daemon=True)
    thread.start()
    listener.ready.wait()
    try:
        yield
    finally:
        listener.stop()
        thread.join()
