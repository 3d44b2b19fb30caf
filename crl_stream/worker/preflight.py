"""Checks the topics on the broker before a worker starts.

Unmodified Faust waits silently for a missing topic, and acknowledges records that it cannot assign.
"""

from __future__ import annotations

import logging

from crl_stream.errors import ContractError
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.settings import Settings

log = logging.getLogger(__name__)


async def check_topics(settings: Settings) -> None:
    """Raise ``ContractError`` for topics where a worker would lose or misread events; log other differences."""
    admin = TopicAdmin(settings.kafka, settings.worker.app_id)
    differences = await admin.differences()
    unsafe = [difference for difference in differences if difference.unsafe]
    if unsafe:
        more = f" (and {len(unsafe) - 1} more, see crl topics diff)" if len(unsafe) > 1 else ""
        hint = "run `crl topics apply`"
        if any(difference.kind == "partitions" for difference in unsafe):
            hint = (
                "set kafka.partitions to the number that crl.invocations has; a changelog with a different number "
                "belongs to another log: choose another worker.app_id, or delete the changelog to refold the log"
            )
        raise ContractError(f"The topics do not fit this worker: {unsafe[0]}{more}.", hint=hint)
    for difference in differences:
        log.warning("topics: %s; `crl topics apply` corrects it", difference)
