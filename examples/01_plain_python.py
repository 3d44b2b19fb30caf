"""A complete agent runtime in ten lines; Ctrl-C ends it. It uses CRL_BOOTSTRAP_SERVERS, else the Kafka of `crl up`."""

from __future__ import annotations

import random
import time
from contextlib import suppress

from crl_stream.client import Client


def call_the_model(variant_id: str) -> float:
    """Your agent goes here; this one only waits a moment and returns the quality of its answer."""
    time.sleep(0.2)
    return random.uniform(0.6, 1.0) if variant_id == "careful" else random.uniform(0.0, 0.5)


with suppress(KeyboardInterrupt), Client() as crl:  # joins
    while True:
        with crl.invocation("example-agent", "small-talk", default="careful") as inv:  # joins
            inv.quality = call_the_model(inv.variant_id)  # joins
            if inv.quality < 0.4:
                inv.failed()
        print(f"{inv.variant_id} ({inv.source}, epoch {inv.epoch}): {inv.status}, quality {inv.quality:.2f}")
