"""The address at which other workers reach the views of this one."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Final

from crl_stream.settings import Settings

EVERY_ADDRESS: Final = frozenset(("0.0.0.0", "::"))  # noqa: S104 - only compared, nothing binds to it


def with_own_address(settings: Settings) -> Settings:
    """Return the settings with a URL that reaches this worker, even if it listens on a wildcard address."""
    worker = settings.worker
    if worker.advertised_url or worker.web_host not in EVERY_ADDRESS:
        return settings
    url = f"http://{socket.gethostname()}:{worker.web_port}"
    return replace(settings, worker=worker.model_copy(update={"advertised_url": url}))
