"""``python -m campaign.live.oracle REQUEST``: examine an installation as it is, and print JSON."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from campaign.live.oracle.findings import Findings
from campaign.live.oracle.folds import Folds
from campaign.live.oracle.reading import Request, Topic, open_consumer
from campaign.live.oracle.recount import Recount
from campaign.live.oracle.services import fold_services
from crl_stream.wire.topics import Topics

FOREIGN = ("faust", "mode", "crl_stream.worker")
"""Packages that the oracle must not import."""


async def examine(request: Request) -> Findings:
    """Fold, recount and compare."""
    started, findings = time.perf_counter(), Findings()
    recount = Recount(request.partitions, request.ledger, request.gaps)
    async with open_consumer(request) as consumer:
        topics = Topic(consumer, Topics(request.prefix), request)
        folds = Folds(topics, recount, findings)
        await folds.run()
        if request.services:
            await fold_services(topics, folds, findings)
        await folds.compare()
    findings.seconds = time.perf_counter() - started
    return findings


def main(words: list[str]) -> int:
    """Run the oracle; return 0 if all promises held, 3 if not."""
    request = msgspec.json.decode(Path(words[0]).read_bytes(), type=Request)
    findings = asyncio.run(examine(request))
    known = [name for name in sys.modules if any(name == one or name.startswith(f"{one}.") for one in FOREIGN)]
    if known:
        print(f"the oracle has imported {', '.join(sorted(known))}", file=sys.stderr)
        return 1
    sys.stdout.write(msgspec.json.encode(findings.as_dict()).decode() + "\n")
    return 0 if findings.is_exact else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
