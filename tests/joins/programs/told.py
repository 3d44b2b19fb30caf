"""The loop of an agent that does what the lines on its stdin say, and follows the active variant with the ``Resolver``.

A line is one JSON object: ``{"turns": 3, "variant": "steady", "fails": ["bold"], "epoch": 2}``. Without ``variant`` the
agent uses the active one; with ``epoch`` it first waits until it knows that epoch. Each line is answered with one: the
variant and the epoch of each turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NamedTuple

from crl_stream.client import Resolver

TASK = ("refund-agent", "refund")


class Turn(NamedTuple):
    """What one turn used, and how it ended."""

    variant: str
    epoch: int | None
    explores: bool
    fails: bool


def work(report: Callable[[Turn], None], flush: Callable[[], object]) -> None:
    """Do what the lines say: ``report`` sends the outcome of a turn, ``flush`` waits until all were sent."""
    with Resolver() as resolver:
        resolver.wait_until_ready(30)
        for line in sys.stdin:
            order = json.loads(line)
            if "epoch" in order and not resolver.wait_for_epoch(*TASK, order["epoch"], timeout=30):
                raise SystemExit(f"epoch {order['epoch']} did not arrive")
            done = []
            for _ in range(order["turns"]):
                found = resolver.resolve(*TASK, default="steady")
                variant = order.get("variant", found.variant_id)
                report(Turn(variant, found.epoch, "variant" in order, variant in order.get("fails", ())))
                done.append([variant, found.epoch])
            flush()
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()
