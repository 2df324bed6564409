"""Use the sessions of a service in every way at once, and report what its pool keeps.

Tasks read, write, fail, lose their connection and are cancelled. The argument is the seed
of what they do.
"""

import asyncio
import gc
import json
import random
import sys
from collections import Counter
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.core import pool
from app.core.database import engine
from app.core.driver import LOOP_FACTORY
from app.core.session import async_session, read_session

ROUNDS = 6
TASKS = 200
STATEMENTS = {
    "SELECT pg_sleep(0.002)": 6,
    "SELECT 1": 8,
    "SELECT pg_sleep(0.05)": 1,
    "SELECT 1/0": 2,
    "SELECT pg_terminate_backend(pg_backend_pid())": 2,
}
ended: Counter[str] = Counter()


async def work(choices: random.Random) -> None:
    """Use one session for one statement."""
    session = choices.choice([async_session, read_session])
    [statement] = choices.choices(list(STATEMENTS), list(STATEMENTS.values()))
    try:
        async with session() as used:
            await used.execute(text(statement))
            await used.commit()
        ended["well"] += 1
    except asyncio.CancelledError:
        ended["cancelled"] += 1
    except (DBAPIError, PoolTimeoutError) as error:
        ended[type(error).__name__] += 1


async def stress(seed: int) -> list[dict[str, Any]]:
    """Return what the pool has lost after each round."""
    choices = random.Random(seed)  # noqa: S311 (nothing is secret)
    loop = asyncio.get_running_loop()
    lost = []
    async with engine.connect():  # SQLAlchemy reads the server's version, once.
        pass
    for _ in range(ROUNDS):
        tasks = []
        for _ in range(TASKS):
            task = asyncio.create_task(work(choices))
            tasks.append(task)
            if choices.random() < 0.2:
                loop.call_later(choices.random() * 0.05, task.cancel)
            if choices.random() < 0.3:
                await asyncio.sleep(choices.random() * 0.004)
        await asyncio.gather(*tasks)
        await asyncio.sleep(0.1)
        del task, tasks
        gc.collect()
        used: Any = engine.pool
        lost.append(
            {
                "places": used.queue.places - used.queue.free,
                "holders": len(used.queue.holders.in_order) + len(used.holders),
                "waiting": sum(not turn.done() for turn in used.queue.waiting),
            }
        )
    return lost


vars(pool).update(KEEP_OVERFLOW=0.01)  # Of the pool that has it.
with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
    rounds = runner.run(stress(int(sys.argv[1])))
print(json.dumps({"lost": rounds, "ended": ended}))
