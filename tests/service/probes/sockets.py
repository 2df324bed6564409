"""Open many WebSockets, let them rest, and ask through all of them at once.

It runs in a service's virtual environment, with a URL and a number. It prints `open`,
waits for a line, and prints what each socket answered.
"""

import asyncio
import sys

from websockets.asyncio.client import ClientConnection, connect


async def ask(socket: ClientConnection) -> str:
    """Send a message, and return the answer."""
    await socket.send("how many?")
    return str(await socket.recv())


async def main(url: str, number: int) -> None:
    """Open the sockets, and use them when a line comes."""
    sockets = [await connect(url) for _ in range(number)]
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(*await asyncio.gather(*map(ask, sockets)), sep="\n")
    for socket in sockets:
        await socket.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
