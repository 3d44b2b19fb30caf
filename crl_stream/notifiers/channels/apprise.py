"""Slack, Teams, e-mail, PagerDuty and a hundred others, through the library Apprise (``crl-stream[notify]``).

Each channel has one address, so a failure of one service neither delays nor repeats notices to another.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from pydantic import SecretStr

from crl_stream.errors import ConfigError
from crl_stream.notifiers.failures import Undelivered
from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.options import Options
from crl_stream.notifiers.plain import plain

INSTALL: Final = "pip install crl-stream[notify]"
_TYPES: Final = {"info": "INFO", "warning": "WARNING", "critical": "FAILURE"}


class AppriseOptions(Options):
    """Settings of an Apprise channel."""

    url: SecretStr
    """The service's address in Apprise's notation, e.g. ``slack://token-a/token-b/token-c/#ops``; never shown."""

    def place(self) -> str:
        """Return the service; the rest of the address is a secret."""
        return f"{self.url.get_secret_value().partition(':')[0]}://"


class AppriseChannel:
    """Passes each notice to one service."""

    def __init__(self, name: str, options: Any) -> None:
        try:
            self._library = importlib.import_module("apprise")
        except ImportError as error:
            raise ConfigError(f"notifiers.{name} needs Apprise, which is not installed.", hint=INSTALL) from error
        self._apprise = self._library.Apprise()
        if not self._apprise.add(options.url.get_secret_value()):
            raise ConfigError(
                f"notifiers.{name}.url is not an address that Apprise recognises.",
                hint="Apprise's documentation lists the services and their address formats",
            )

    async def send(self, notice: Notice) -> None:
        """Make one attempt to send the notice."""
        kind = "SUCCESS" if notice.resolved else _TYPES[notice.severity]
        taken = await self._apprise.async_notify(
            title=plain(f"{'recovered' if notice.resolved else notice.severity}: {notice.subject}"),
            body=plain(notice.text),
            # State the format: otherwise a service assumes its preferred one, such as HTML in a mail.
            body_format=self._library.NotifyFormat.TEXT,
            notify_type=getattr(self._library.NotifyType, kind),
        )
        if not taken:
            raise Undelivered("the service did not accept it; Apprise's log lines have details")

    async def close(self) -> None:
        """Do nothing, because an Apprise channel keeps nothing open."""


OPTIONS, CHANNEL = AppriseOptions, AppriseChannel
