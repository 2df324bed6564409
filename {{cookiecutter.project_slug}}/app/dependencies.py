"""What a route asks FastAPI for: the session of its request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core.session import async_session, read_session_scope


async def get_read_session() -> AsyncIterator[AsyncSession]:
    """The session of a request, which reads without a transaction."""
    async with read_session_scope() as session:
        yield session


async def get_session(
    session: Annotated[AsyncSession, Depends(get_read_session, scope="function")],
) -> AsyncIterator[AsyncSession]:
    """The session of a request, in a transaction from now on.

    It is committed if the request succeeds, else rolled back. An exception from COMMIT
    reaches the client, since `SessionDep` ends before the response is sent.
    """
    await session.commit()  # What was read is kept, the connection goes back.
    session.sync_session.bind = async_session().sync_session.bind
    session.info["writes"] = True
    yield session
    await session.commit()
    session.info["writes"] = False


# The default scope ends after the response, when a failed COMMIT cannot be told:
# https://fastapi.tiangolo.com/tutorial/dependencies/dependencies-with-yield/
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
ReadSessionDep = Annotated[AsyncSession, Depends(get_read_session, scope="function")]
