"""The users router, as a client sees it."""

from datetime import datetime

import pytest
from httpx2 import AsyncClient

from app.core.session import session_scope
from app.routers.users import find_user
from tests import needs_postgres

ADA = {"name": "Ada Lovelace", "email": "Ada@Example.com"}


async def create(client: AsyncClient, name: str) -> int:
    user = {"name": name, "email": f"{name}@example.com"}
    response = await client.post("/users", json=user)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


async def test_create_and_read(client: AsyncClient) -> None:
    response = await client.post("/users", json=ADA)

    assert response.status_code == 201
    created = response.json()
    assert created["name"] == ADA["name"]
    assert created["email"] == ADA["email"]
    response = await client.get(f"/users/{created['id']}")
    assert response.status_code == 200
    assert response.json()["email"] == ADA["email"]


@needs_postgres
async def test_creation_time_keeps_its_zone(client: AsyncClient) -> None:
    user_id = await create(client, "ada")

    user = (await client.get(f"/users/{user_id}")).json()

    assert datetime.fromisoformat(user["created_at"]).tzinfo is not None


async def test_list_is_ordered_and_paged(client: AsyncClient) -> None:
    ids = [await create(client, name) for name in ("ada", "bob", "cy")]
    await client.patch(f"/users/{ids[0]}", json={"name": "Ada King"})

    page = await client.get("/users", params={"limit": 2})
    rest = await client.get("/users", params={"after": page.json()[-1]["id"]})

    assert [user["id"] for user in page.json() + rest.json()] == ids


async def test_update_changes_only_what_is_sent(client: AsyncClient) -> None:
    user_id = await create(client, "ada")

    response = await client.patch(f"/users/{user_id}", json={"name": "Ada King"})

    assert response.status_code == 200
    user = (await client.get(f"/users/{user_id}")).json()
    assert (user["name"], user["email"]) == ("Ada King", "ada@example.com")


async def test_update_leaves_a_trace(client: AsyncClient) -> None:
    user_id = await create(client, "ada")
    created = (await client.get(f"/users/{user_id}")).json()

    updated = await client.patch(f"/users/{user_id}", json={"name": "Eve"})

    assert updated.status_code == 200
    user = (await client.get(f"/users/{user_id}")).json()
    assert user["updated_at"] > created["updated_at"]
    assert user["created_at"] == created["created_at"]


@pytest.mark.usefixtures("sessions")
async def test_locked_user_is_read_anew(client: AsyncClient) -> None:
    user_id = await create(client, "ada")

    async with session_scope() as session:
        read = await find_user(session, user_id)
        await client.patch(f"/users/{user_id}", json={"name": "Eve"})
        locked = await find_user(session, user_id, lock=True)

    assert read is locked
    assert locked.name == "Eve"


async def test_delete(client: AsyncClient) -> None:
    user_id = await create(client, "ada")

    assert (await client.delete(f"/users/{user_id}")).status_code == 204

    assert (await client.get(f"/users/{user_id}")).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_unknown_user(client: AsyncClient, method: str) -> None:
    response = await client.request(method, "/users/999", json={})

    assert response.status_code == 404
    assert response.json() == {"detail": "There is no such user."}


async def test_email_is_unique_whatever_its_case(client: AsyncClient) -> None:
    await create(client, "ada")
    bob = await create(client, "bob")
    same = {"name": "Other", "email": "ADA@example.COM"}

    assert (await client.post("/users", json=same)).status_code == 409
    response = await client.patch(f"/users/{bob}", json={"email": same["email"]})
    assert response.status_code == 409
    assert len((await client.get("/users")).json()) == 2


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"name": "", "email": "a@b"}', id="empty-name"),
        pytest.param(b'{"name": "a", "email": "no-at-sign"}', id="no-email"),
        pytest.param(b'{"name": "a\\u0000", "email": "a@b"}', id="nul"),
        pytest.param(b'{"name": "\\ud800", "email": "a@b"}', id="lone-surrogate"),
        pytest.param(b'{"name": NaN, "email": "a@b"}', id="not-a-number"),
        pytest.param(b'{"name": null, "email": "a@b"}', id="null"),
        pytest.param(b"[]", id="not-an-object"),
        pytest.param(b"{", id="not-json"),
    ],
)
async def test_invalid_user(client: AsyncClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    user_id = await create(client, "ada")

    created = await client.post("/users", content=body, headers=headers)
    changed = await client.patch(f"/users/{user_id}", content=body, headers=headers)

    assert (created.status_code, changed.status_code) == (422, 422)
    assert "detail" in created.json()


@pytest.mark.parametrize("user_id", ["0", "-1", f"{2**53}", "9" * 5000, "x", "%00"])
async def test_invalid_id(client: AsyncClient, user_id: str) -> None:
    assert (await client.get(f"/users/{user_id}")).status_code == 422


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "after=-1", f"after={2**53}"]
)
async def test_invalid_paging(client: AsyncClient, query: str) -> None:
    assert (await client.get(f"/users?{query}")).status_code == 422
