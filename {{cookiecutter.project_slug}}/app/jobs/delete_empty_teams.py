"""Delete the teams that have no users: `python -m app.jobs.delete_empty_teams`."""

import asyncio
import logging

from sqlmodel import col, delete, exists

from app.core.database import engine
from app.core.driver import LOOP_FACTORY
from app.core.session import session_scope
from app.models import Team, User

logger = logging.getLogger(__name__)


async def delete_empty_teams() -> int:
    """Delete them, and return how many they were."""
    has_users = exists().where(col(User.team_id) == col(Team.id))
    async with session_scope() as session:
        result = await session.exec(delete(Team).where(~has_users))
    return result.rowcount


async def main() -> None:
    """Run the job, and close its connections."""
    logger.info("deleted %s teams", await delete_empty_teams())
    await engine.dispose()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        runner.run(main())
