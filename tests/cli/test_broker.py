"""``crl broker`` reports what happened to the broker and its data."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from crl_stream.broker.process import Endpoint
from crl_stream.cli import broker


def a_call(endpoint: Endpoint) -> Any:
    """Return a stand-in for the command's context, with an embedded broker running at ``endpoint``."""
    running = SimpleNamespace(status=lambda: endpoint, stop=lambda: True)
    return SimpleNamespace(obj=SimpleNamespace(embedded_broker=lambda **_: running))


@pytest.mark.parametrize("ephemeral", [False, True])
def test_a_broker_that_was_stopped_is_said_to_be_and_whether_its_data_is_still_there(
    ephemeral: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint = Endpoint("127.0.0.1:9092", 4711, "data", "data/server.log", ephemeral=ephemeral)
    broker.stop(a_call(endpoint))
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == f"The broker has stopped; its data {'was deleted' if ephemeral else 'is kept'}.\n"
    broker.stop(a_call(endpoint), json=True)
    said = capfd.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == endpoint._asdict() | {"stopped": True}
