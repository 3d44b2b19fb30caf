"""Runs the proposer on one task, snapshot by snapshot."""

from __future__ import annotations

from typing import Any

from crl_stream.core import messages as m
from crl_stream.core.proposer.step import proposals_of, review_task

from .snapshots import REMEDIES, a_snapshot, a_variant


class Desk:
    """A proposer working on one task, and everything it has published."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.offset = 100
        self.published: list[m.Proposal] = []

    def see(self, *variants: m.VariantSnapshot, **fields: Any) -> list[m.Proposal]:
        """Give the proposer the next snapshot, with the first variant active; return what it publishes."""
        self.offset += 10
        return self.take(a_snapshot(*variants, **({"offset": self.offset} | fields)))

    def take(self, snapshot: m.TaskSnapshot) -> list[m.Proposal]:
        self.data, published = review_task(self.data, snapshot, REMEDIES)
        self.published += published
        return published

    @property
    def open(self) -> list[m.Proposal]:
        return [] if self.data is None else proposals_of(self.data)


def opened() -> tuple[Desk, m.Proposal]:
    """Return a desk with one open proposal, for a task whose only variant has a Q-value of .5 after 60 invocations."""
    desk = Desk()
    [proposal] = desk.see(a_variant())
    return desk, proposal
