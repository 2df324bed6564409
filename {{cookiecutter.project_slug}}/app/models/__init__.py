"""All tables. Migrations and tests know those that are imported here."""

from app.models.team import Team
from app.models.user import User

__all__ = ["Team", "User"]
