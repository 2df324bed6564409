"""The teams router, as a client sees it."""

from httpx2 import AsyncClient

from tests import needs_postgres
from tests.test_users import create


async def create_team(client: AsyncClient, name: str) -> int:
    response = await client.post("/teams", json={"name": name})
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


async def test_team_is_read_with_its_users(client: AsyncClient) -> None:
    team_id = await create_team(client, "engine")
    ids = [await create(client, name) for name in ("ada", "bob", "cy")]
    for user_id in ids[:2]:
        await client.patch(f"/users/{user_id}", json={"team_id": team_id})

    team = (await client.get(f"/teams/{team_id}")).json()

    assert team["name"] == "engine"
    assert [user["id"] for user in team["users"]] == ids[:2]


async def test_user_leaves_a_team(client: AsyncClient) -> None:
    team_id = await create_team(client, "engine")
    user = {"name": "Ada", "email": "ada@example.com", "team_id": team_id}
    created = (await client.post("/users", json=user)).json()

    left = await client.patch(f"/users/{created['id']}", json={"team_id": None})

    assert (created["team_id"], left.json()["team_id"]) == (team_id, None)
    assert (await client.delete(f"/teams/{team_id}")).status_code == 204
    assert (await client.get(f"/teams/{team_id}")).status_code == 404


async def test_unknown_team(client: AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        response = await client.request(method, "/teams/999")
        assert response.status_code == 404
        assert response.json() == {"detail": "There is no such team."}


@needs_postgres
async def test_conflicts(client: AsyncClient) -> None:
    team_id = await create_team(client, "engine")
    user = {"name": "Ada", "email": "ada@example.com"}

    same = await client.post("/teams", json={"name": "engine"})
    unknown = await client.post("/users", json=user | {"team_id": 999})
    await client.post("/users", json=user | {"team_id": team_id})
    in_use = await client.delete(f"/teams/{team_id}")

    assert (same.status_code, in_use.status_code) == (409, 409)
    assert unknown.status_code == 409
    assert "email" not in unknown.json()["detail"]
