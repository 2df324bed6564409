"""A read of one user, with one layer more from route to route."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy import bindparam
from sqlmodel import select

from app.dependencies import ReadSessionDep
from app.models.base import utc_now
from app.models.user import User, UserRead

router = APIRouter(prefix="/layers")

ADA = UserRead(id=1, name="Ada", email="ada@example.com", created_at=utc_now())
COLUMNS = User.__table__.columns
BY_ID = select(*COLUMNS).where(COLUMNS.id == bindparam("user_id"))


@router.get("/fastapi/{user_id}", response_model=UserRead)
async def fastapi_alone(user_id: int) -> Any:  # noqa: ARG001
    """Answer from memory."""
    return ADA


@router.get("/session/{user_id}", response_model=UserRead)
async def with_session(user_id: int, session: ReadSessionDep) -> Any:  # noqa: ARG001
    """Answer from memory, with a place in the queue and a session that is not used."""
    return ADA


@router.get("/core/{user_id}", response_model=UserRead)
async def with_core(user_id: int, session: ReadSessionDep) -> Any:
    """Read columns, with a statement that is built once."""
    row = (await session.exec(BY_ID, params={"user_id": user_id})).one()
    return row._asdict()
