"""What a person is shown of a row between two of its records."""

from __future__ import annotations

import pytest
from core.task import HOUR, proven

from crl_stream.core import messages as m
from crl_stream.core.row import encode_row
from crl_stream.topology.inspection import snapshot, summary


@pytest.mark.parametrize(("kind", "name"), [(m.PinVariant, "pinned"), (m.HoldTask, "held")])
def test_an_order_that_is_over_is_not_shown_though_nothing_has_happened_since(kind: type, name: str) -> None:
    task = proven()
    task.order(kind, hours=2.0)
    row = encode_row(task.row)
    for now, stands in ((task.now, True), (task.now + 2 * HOUR - 1, True), (task.now + 2 * HOUR, False)):
        assert summary(0, row, now)[name] is stands
        assert (getattr(snapshot(0, None, row, now), name) is not None) is stands


def test_the_hold_of_an_undo_stands_until_its_outcomes_are_there_however_long_that_takes() -> None:
    task = proven(v2="S" * 30)
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.UndoRollback)
    assert summary(0, encode_row(task.row), task.now + 1_000 * HOUR)["held"]
