"""Jobs, as they are called from a process of their own."""

import pytest
from httpx2 import AsyncClient

from app.jobs.delete_empty_teams import delete_empty_teams
from tests.test_teams import create_team


@pytest.mark.usefixtures("sessions")
async def test_empty_teams_are_deleted(client: AsyncClient) -> None:
    full, empty = [await create_team(client, name) for name in ("full", "empty")]
    user = {"name": "Ada", "email": "ada@example.com", "team_id": full}
    await client.post("/users", json=user)

    assert await delete_empty_teams() == 1

    assert (await client.get(f"/teams/{full}")).status_code == 200
    assert (await client.get(f"/teams/{empty}")).status_code == 404
