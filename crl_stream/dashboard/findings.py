"""What is not working, in the words of ``crl status``, for a terminal and for pages."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from crl_stream.core.instant import readable
from crl_stream.errors import CrlError
from crl_stream.kafka.fleet_health import inspect_kafka
from crl_stream.kafka.session import Access
from crl_stream.settings import Settings
from crl_stream.visible import visible

KAFKA_SECONDS: Final = 10.0
"""How long Kafka may take to report what is running."""
NOT_RUNNING: Final = "not_running"
"""With this begins each line about a service that is not running."""


async def troubles_of(settings: Settings, access: Access | None = None) -> list[str]:
    """Return one line for each problem visible in Kafka.

    The overview does not show them: it stays the same after its writer stops.
    """
    try:
        async with asyncio.timeout(KAFKA_SECONDS):
            return [finding_line(found) for found in await inspect_kafka(settings, access) if found["trouble"]]
    except TimeoutError:
        return ["kafka: Kafka answers too slowly to report what is running. Check the broker."]
    except CrlError as error:
        return [f"kafka: {error.message}"]


def finding_line(finding: dict[str, Any]) -> str:
    """Format a finding as one line: its name, when it began, what it is and what to do."""
    since = finding["since"]
    told = f" since {since[:19].replace('T', ' ')} UTC" if since else ""
    head = finding["name"] if finding["trouble"] else f"note {finding['name']}"
    action = finding["action"]
    return readable(
        visible(f"{head}{told}: {finding['text']}" + (f" {action[:1].upper()}{action[1:]}." if action else ""))
    )
