"""A TCP proxy on the loopback device that can stop forwarding, or refuse."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65536


class Proxy:
    """Forwards to a port of the loopback device, until told otherwise.

    In the hole, connections are accepted and nothing is forwarded, in either
    direction. What was sent meanwhile arrives when forwarding goes on, as it does
    after a network failure shorter than TCP's own patience.
    """

    def __init__(self, target: int) -> None:
        """Prepare a proxy to the port `target`; `start` runs it."""
        self.target = target
        self.port = 0
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen, and forward."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.forward()

    def forward(self) -> None:
        """Forward everything, also what waited."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def black_hole(self) -> None:
        """Accept connections and forward nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def refuse(self) -> None:
        """Close every connection and listen no more."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    def listen_again(self) -> None:
        """Listen again after `refuse`, on the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """Close everything and end the thread."""
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writers = [writer]
        try:
            await self._flowing.wait()
            onward, backward = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(backward)
            ways = [
                asyncio.ensure_future(self._pump(reader, backward)),
                asyncio.ensure_future(self._pump(onward, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except OSError:
            pass
        finally:
            for open_writer in writers:
                open_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        chunk = b"more"
        while chunk:
            try:
                chunk = await reader.read(CHUNK)
            except OSError:
                chunk = b""
            await self._flowing.wait()  # The hole swallows the end as well.
            with suppress(OSError):
                writer.write(chunk)
                await writer.drain()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """Run a proxy to a port of the loopback device."""
    running = Proxy(target)
    running.start()
    try:
        yield running
    finally:
        running.stop()
