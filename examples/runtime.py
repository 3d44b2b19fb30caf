"""An agent runtime in its ten lines; Ctrl-C ends it.  Kafka is where CRL_BOOTSTRAP_SERVERS says, else `crl up`'s."""

from __future__ import annotations

import random
import time
from contextlib import suppress

from crl_stream.client import Client


def call_the_model(variant_id: str) -> float:
    """Your agent; here it only takes a moment and returns how good its answer was."""
    time.sleep(0.2)
    return random.uniform(0.6, 1.0) if variant_id == "careful" else random.uniform(0.3, 0.9)


with suppress(KeyboardInterrupt), Client() as crl:
    while True:
        with crl.invocation("example-agent", "small-talk", default="careful") as inv:
            inv.quality = call_the_model(inv.variant_id)
            if inv.quality < 0.4:
                inv.failed()
        print(f"{inv.variant_id} ({inv.source}, epoch {inv.epoch}): {inv.status}, quality {inv.quality:.2f}")
