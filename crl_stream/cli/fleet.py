"""``crl hold --all`` and ``crl resume --all``: send one command to every partition and report its result in each."""

from __future__ import annotations

import asyncio
from typing import Any

from crl_stream.cli.consequences import show_consequences
from crl_stream.cli.session import Session
from crl_stream.cli.talk import show, show_json
from crl_stream.core import messages as m
from crl_stream.core.reach import touched, touches_words
from crl_stream.core.way_back import way_back
from crl_stream.kafka.commands import fleet_command, give_all
from crl_stream.kafka.fleet_orders import EVERY_TASK, answer_document, answer_summary, answer_trouble, valid_hours


def order_fleet(
    session: Session,
    kind: type[Any],
    reason: str,
    actor: str | None,
    timeout: float,
    json: bool,
    *,
    hours: float | None = None,
    stops: str = "all",
) -> None:
    """Send a command to the whole fleet and report the result.

    ``kind`` is the command's class, ``timeout`` the seconds to wait for all partitions, ``hours`` the length of a hold
    (None: the policy's), ``stops`` what a hold stops. Raises ``CommandRefused`` if every partition refuses,
    ``Unavailable`` if one has not applied it.
    """
    fields: dict[str, Any] = {"reason": reason, "actor": actor}
    if kind is m.HoldAll:
        fields |= {"hours": hours, "stops": stops}
    command = fleet_command(kind, valid_hours=valid_hours(kind, hours), **fields)
    answer = asyncio.run(give_all(session.kafka, command, timeout))
    if json:
        show_json(answer_document(command, answer))
    elif answer.results:
        show(answer_summary(command, answer))
        if answer.applied:
            show_consequences(touched(touches_words(EVERY_TASK)), way_back(kind.__name__))
    if (trouble := answer_trouble(command, answer, timeout)) is not None:
        raise trouble
