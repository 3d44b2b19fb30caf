"""The names of all topics; no other code names a topic.

``topics`` says which messages they hold; a client needs only the names.
"""

from __future__ import annotations

from typing import Final

import msgspec

INVOCATIONS: Final = "crl.invocations"
COMMANDS: Final = "crl.commands"
DEGRADATIONS: Final = "crl.degradations"
ROLLBACKS: Final = "crl.rollbacks"
DECISIONS: Final = "crl.decisions"
ALERTS: Final = "crl.alerts"
ACTIVE_VARIANTS: Final = "crl.active-variants"
VARIANTS: Final = "crl.variants"
TASKS: Final = "crl.tasks"
PROPOSALS: Final = "crl.proposals"
RECEIPTS: Final = "crl.receipts"
TAG_CONDITIONS: Final = "crl.tags"
MIRRORS: Final = "crl.mirrors"
OVERVIEW_EVENTS: Final = "crl.overview-events"
OVERVIEW: Final = "crl.overview"
DEAD_LETTERS: Final = "crl.dead-letters"
BRIDGE_INBOX: Final = "crl.bridge-inbox"


class Topics(msgspec.Struct, frozen=True):
    """Names on a broker: the catalog's names with the installation's prefix."""

    prefix: str = ""

    def __call__(self, topic: str) -> str:
        """Return the broker's name of a catalog topic."""
        return self.prefix + topic

    def group(self, app_id: str, role: str = "") -> str:
        """Return the consumer group of the monitor, or of the service named by ``role``."""
        return self(f"{app_id}-{role}" if role else app_id)

    def changelog(self, app_id: str, table: str = "tasks") -> str:
        """Return the changelog of a table, which only the owner of the state writes."""
        return self(f"{app_id}-{table}-changelog")
