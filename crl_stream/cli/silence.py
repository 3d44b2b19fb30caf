"""Reports on stderr that Kafka does not answer a waiting command, because an outage would look like a quiet period."""

from __future__ import annotations

from typing import Final

from crl_stream.cli.talk import say

SILENT_SECONDS: Final = 5.0
"""Seconds without a response from Kafka after which the silence is reported."""
AGAIN_SECONDS: Final = 60.0
"""Seconds between two lines about the same silence of Kafka."""


class KafkaSilence:
    """Reports when a Kafka cluster stops answering, then once a minute, and when it answers again."""

    def __init__(self, where: str, waits: str) -> None:
        self._where, self._waits = where, waits
        self._said_at = self._longest = 0.0

    def note(self, seconds: float) -> None:
        """Record the seconds since Kafka's last answer; less than ``SILENT_SECONDS`` counts as an answer."""
        if seconds < SILENT_SECONDS:
            if self._said_at:
                say(f"Kafka answers again after {self._longest:.0f} s")
            self._said_at = 0.0
            return
        self._longest = seconds
        if self._said_at and seconds - self._said_at < AGAIN_SECONDS:
            return
        say(f"Kafka has not answered at {self._where} for {seconds:.0f} s; {self._waits}")
        self._said_at = seconds
