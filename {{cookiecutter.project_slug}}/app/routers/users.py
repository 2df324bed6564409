"""Users: create, read, list, change and delete."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, status
from sqlalchemy import bindparam
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.dependencies import ReadSessionDep, SessionDep
from app.errors import BAD_REQUEST, CONFLICT, NOT_FOUND, RESPONSES, violates
from app.models.base import MAX_KEY, Key
from app.models.user import EMAIL_INDEX, User, UserCreate, UserRead, UserUpdate

router = APIRouter(prefix="/users", tags=["users"], responses=RESPONSES)

# Built once: `session.get` builds its query anew for every request.
BY_ID = select(User).where(col(User.id) == bindparam("user_id"))
LOCKED_BY_ID = BY_ID.with_for_update().execution_options(populate_existing=True)


@router.post(
    "",
    response_model=UserRead,
    status_code=status.HTTP_201_CREATED,
    responses=BAD_REQUEST | CONFLICT,
)
async def create_user(new: UserCreate, session: SessionDep) -> User:
    """Create a user."""
    user = User.model_validate(new)
    session.add(user)
    await write_user(session)
    return user


@router.get("/{user_id}", response_model=UserRead, responses=NOT_FOUND)
async def read_user(user_id: Key, session: ReadSessionDep) -> User:
    """Return one user."""
    return await find_user(session, user_id)


@router.get("", response_model=list[UserRead])
async def list_users(
    session: ReadSessionDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    after: Annotated[int, Query(ge=0, le=MAX_KEY)] = 0,
) -> Sequence[User]:
    """Return the users with ids above `after`, which is the last id of a page."""
    page = select(User).where(col(User.id) > after).order_by(col(User.id)).limit(limit)
    return (await session.exec(page)).all()


@router.patch(
    "/{user_id}",
    response_model=UserRead,
    responses=BAD_REQUEST | NOT_FOUND | CONFLICT,
)
async def update_user(user_id: Key, changes: UserUpdate, session: SessionDep) -> User:
    """Change the fields that the request names."""
    user = await find_user(session, user_id, lock=True)
    user.sqlmodel_update(changes.model_dump(exclude_unset=True))
    await write_user(session)
    return user


@router.delete(
    "/{user_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=NOT_FOUND | CONFLICT,
)
async def delete_user(user_id: Key, session: SessionDep) -> None:
    """Delete a user."""
    await session.delete(await find_user(session, user_id, lock=True))


async def find_user(session: AsyncSession, user_id: int, *, lock: bool = False) -> User:
    """Return the user; raises HTTPException 404 if there is none.

    With `lock`, nobody else changes or deletes the user until this request ends, and
    what the request has read of the user before is read anew.
    """
    query = LOCKED_BY_ID if lock else BY_ID
    user = (await session.exec(query, params={"user_id": user_id})).one_or_none()
    if user is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such user.")
    return user


async def write_user(session: AsyncSession) -> None:
    """Send the changes to the database; raises HTTPException 409 on a taken email.

    What else the database refuses is answered in `app/errors.py`.
    """
    try:
        await session.flush()
    except IntegrityError as error:
        if not violates(error, EMAIL_INDEX):
            raise
        raise HTTPException(
            status.HTTP_409_CONFLICT, "Another user has this email address."
        ) from error
