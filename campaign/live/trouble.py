"""Pattern of the lines that workers log about a broker that does not respond, or responds with errors."""

from __future__ import annotations

import re
from typing import Final

BROKER_TROUBLE: Final = re.compile(
    r"Unable to connect|Unable connect|[Cc]onnection(?: to | reset| lost| refused|Error)|ConnectionError|NodeNotReady"
    r"|Heartbeat failed|heartbeat|Failed fetch|RequestTimedOut|KafkaTimeoutError|NotLeaderForPartition|coordinator"
    r"|NotEnoughReplicas|Kafka does not answer|cannot be read",
)
