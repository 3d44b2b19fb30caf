"""Loads a client's settings; bad settings never stop an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crl_stream.client.troubles import Troubles

if TYPE_CHECKING:
    from pathlib import Path

    from crl_stream.settings.runtime_sections import RuntimeSettings


class Setup(NamedTuple):
    """A client's settings, and the problems found in them."""

    settings: RuntimeSettings
    without_kafka: str = ""
    """Why the client must not connect to Kafka; empty if it may."""
    notes: tuple[str, ...] = ()

    def say(self, troubles: Troubles) -> None:
        """Log each problem."""
        if self.without_kafka:
            troubles.say("settings", f"the client returns defaults and sends nothing: {self.without_kafka}")
        for note in self.notes:
            troubles.say(f"note {note}", note)


def set_up(settings: RuntimeSettings | Setup | None, *, file: Path | str | None = None, strict: bool = False) -> Setup:
    """Return the settings of a client; raises ``ConfigError`` only if ``strict``."""
    if settings is not None:
        return settings if isinstance(settings, Setup) else Setup(settings)
    # Imported when a client is made, like everything about settings: it is quick, but an import should be quicker.
    from pathlib import Path

    from crl_stream.settings.for_clients import load_client_settings

    found = load_client_settings(file=None if file is None else Path(file), strict=strict)
    return Setup(found.settings, found.without_kafka, found.notes)
