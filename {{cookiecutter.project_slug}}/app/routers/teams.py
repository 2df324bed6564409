"""Teams: create, read with their users, and delete."""

from fastapi import APIRouter, HTTPException, status
from sqlalchemy.orm import selectinload
from sqlmodel import col, select

from app.dependencies import ReadSessionDep, SessionDep
from app.errors import BAD_REQUEST, CONFLICT, NOT_FOUND, RESPONSES
from app.models.base import Key
from app.models.team import Team, TeamCreate, TeamRead
from app.models.user import UserRead

router = APIRouter(prefix="/teams", tags=["teams"], responses=RESPONSES)


class TeamWithUsers(TeamRead):
    """A team as the API shows it, with its users."""

    users: list[UserRead]


@router.post(
    "",
    response_model=TeamRead,
    status_code=status.HTTP_201_CREATED,
    responses=BAD_REQUEST | CONFLICT,
)
async def create_team(new: TeamCreate, session: SessionDep) -> Team:
    """Create a team. The name of another one is answered in `app/errors.py`."""
    team = Team.model_validate(new)
    session.add(team)
    await session.flush()
    return team


@router.get("/{team_id}", response_model=TeamWithUsers, responses=NOT_FOUND)
async def read_team(team_id: Key, session: ReadSessionDep) -> Team:
    """Return one team with its users: two queries, however many users it has."""
    query = select(Team).where(col(Team.id) == team_id)
    query = query.options(selectinload(Team.users))
    team = (await session.exec(query)).one_or_none()
    if team is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such team.")
    return team


@router.delete(
    "/{team_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=NOT_FOUND | CONFLICT,
)
async def delete_team(team_id: Key, session: SessionDep) -> None:
    """Delete a team that has no users."""
    team = await session.get(Team, team_id, with_for_update=True)
    if team is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such team.")
    await session.delete(team)
