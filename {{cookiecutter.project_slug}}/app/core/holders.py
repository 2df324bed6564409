"""Who holds the connections of a pool, and for how long."""

from dataclasses import dataclass, field
from logging import getLogger
from time import monotonic

from starlette.types import Scope

from app.core.config import settings
from app.work import current_work, name_of

logger = getLogger(__name__)


@dataclass(eq=False, slots=True)
class Holder:
    """Who has taken a connection, and when."""

    work: Scope | str = field(default_factory=current_work)
    since: float = field(default_factory=monotonic)
    is_named: bool = False


class Holders:
    """All who hold a connection, those first who hold it longest."""

    def __init__(self) -> None:
        """Begin with none."""
        self.in_order: dict[Holder, None] = {}

    def add(self) -> Holder:
        """Note that the current request or task holds a connection from now on."""
        holder = Holder()
        self.in_order[holder] = None
        return holder

    def remove(self, holder: Holder) -> None:
        """Note that a connection is given back."""
        self.name_slow()
        del self.in_order[holder]

    def name_slow(self) -> None:
        """Log who holds a connection for DB_HOLD_WARNING seconds, each once.

        Called whenever somebody asks for a connection or gives one back: nobody else
        is hurt by one that is not given back, and a timer would need an event loop.
        """
        now = monotonic()
        for holder in self.in_order:
            if now - holder.since < settings.db_hold_warning:
                break
            if not holder.is_named:
                holder.is_named = True
                logger.warning(
                    "%s has held a connection for %.1f s (DB_HOLD_WARNING)",
                    name_of(holder.work),
                    now - holder.since,
                )

    def __str__(self) -> str:
        """Such as `GET /reports 14, longest 12.3 s; GET /users 1, longest 0.1 s`."""
        seconds: dict[str, list[float]] = {}
        for holder in self.in_order:
            held = monotonic() - holder.since
            seconds.setdefault(name_of(holder.work), []).append(held)
        return "; ".join(
            f"{name} {len(held)}, longest {held[0]:.1f} s"
            for name, held in seconds.items()
        )
