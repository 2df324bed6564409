"""A queue for connections: who comes first is served first."""

import asyncio
from collections import deque

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.util import await_only

from app.core.holders import Holder, Holders


class FairQueue:
    """Lets in as many connections at once as there are places.

    SQLAlchemy's own queue lets a request that comes late overtake those that wait, and
    some of them then wait for very long. Only who waits is bound to an event loop.
    """

    def __init__(self, places: int, timeout: float) -> None:
        """Let in `places` connections; others wait for `timeout` seconds."""
        self.places = places
        self.timeout = timeout
        self.free = places
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.holders = Holders()

    def enter(self) -> Holder:
        """Take a place; raises the pool's TimeoutError if none gets free in time."""
        self.holders.name_slow()
        if self.free:
            self.free -= 1
            return self.holders.add()
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await_only(self._wait(turn))
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._hand_on()
            raise
        return self.holders.add()

    async def _wait(self, turn: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                await turn
        except TimeoutError:
            msg = (
                f"all {self.places} connections were in use"
                f" for {self.timeout:g} s (DB_POOL_TIMEOUT): {self.holders}"
            )
            raise PoolTimeoutError(msg) from None

    def leave(self, holder: Holder) -> None:
        """Hand the place of `holder` to the first that still waits."""
        self.holders.remove(holder)
        self._hand_on()

    def _hand_on(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1
