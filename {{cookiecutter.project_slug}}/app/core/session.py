"""Sessions: one for each request, and scopes for code that runs outside of one."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import ORMExecuteState
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core.database import engine, read_engine


class SessionUseError(InvalidRequestError):
    """A session was used for what it is not for."""


class ScopedSession(Session):
    """A session that ends with its scope, and writes only if its `info` says so."""

    def _autobegin_t(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._autobegin_t(*arguments, **options)
        except InvalidRequestError as error:
            if "permanently closed" not in str(error):
                raise
            msg = (
                "the session ended with its request or scope. A background task,"
                " a stream or a job opens one of its own: async with session_scope()"
                " or read_session_scope()"
            )
            raise SessionUseError(msg) from error

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Send the changes; raises SessionUseError if the session only reads."""
        if not self.info["writes"]:
            changed = [*self.new, *self.deleted, *filter(self.is_modified, self.dirty)]
            if changed:
                refuse(f"save a {type(changed[0]).__name__}")
        super().flush(objects)


@event.listens_for(ScopedSession, "do_orm_execute")
def check_statement(state: ORMExecuteState) -> None:
    """Refuse what needs a transaction in a session that has none."""
    if state.session.info["writes"]:
        return
    if state.is_insert or state.is_update or state.is_delete:
        refuse("write")
    if state.execution_options.get("stream_results"):
        refuse("stream rows")
    if getattr(state.statement, "_for_update_arg", None) is not None:
        refuse("lock rows")


def refuse(what: str) -> None:
    """Raise SessionUseError: a session that only reads was to do `what`."""
    msg = (
        f"a session that only reads has no transaction and cannot {what}:"
        " take SessionDep, or session_scope() outside of a request"
    )
    raise SessionUseError(msg)


OPTIONS: dict[str, Any] = {
    "class_": AsyncSession,
    "sync_session_class": ScopedSession,
    "close_resets_only": False,
    "expire_on_commit": False,
}
async_session = async_sessionmaker(engine, info={"writes": True}, **OPTIONS)
read_session = async_sessionmaker(read_engine, info={"writes": False}, **OPTIONS)


@asynccontextmanager
async def session_scope() -> AsyncIterator[AsyncSession]:
    """A session for work of its own: committed at the end, rolled back on an error."""
    async with async_session() as session:
        yield session
        await session.commit()


@asynccontextmanager
async def read_session_scope() -> AsyncIterator[AsyncSession]:
    """A session that only reads: each statement sees what is committed when it starts.

    Raises SessionUseError if an object was added, changed or deleted.
    """
    async with read_session() as session:
        yield session
        await session.flush()
