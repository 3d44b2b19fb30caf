"""Numbers of any type are accepted from a judge; a bad score is dropped, but its outcome never is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from builders import AGENT, TASK, an_invocation
from hypothesis import given
from hypothesis import strategies as st
from source_tree import environment_of_this_checkout

from crl_stream.client import Client, Publisher
from crl_stream.client.publisher import checked
from crl_stream.client.scores import usable
from crl_stream.core import messages as m
from crl_stream.settings import Settings

NUMBERS: list[tuple[Any, float]] = [
    (1, 1.0),
    (True, 1.0),
    (False, 0.0),
    (0, 0.0),
    (np.float64(0.5), 0.5),
    (np.float32(0.5), 0.5),
    (np.float16(0.5), 0.5),
    (np.int64(1), 1.0),
    (np.uint8(1), 1.0),
    (np.bool_(True), 1.0),
    (np.array(0.5), 0.5),
    (np.array(1), 1.0),
    (np.longdouble(0.5), 0.5),
    (Decimal("0.5"), 0.5),
    (Fraction(1, 2), 0.5),
]


class Broken:
    def __float__(self) -> float:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise RuntimeError


UNUSABLE = [
    float("nan"),
    float("inf"),
    np.float64("nan"),
    np.array([0.5]),
    np.array([[0.5]]),
    np.ma.masked,
    Decimal("sNaN"),
    Decimal("1e9999"),
    Fraction(10**400, 1),
    10**400,
    1 + 2j,
    "0.9",
    b"0.9",
    "high",
    [0.5],
    {},
    object(),
    Broken(),
    1.0000001,
    -7,
    2,
]


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    publisher = Publisher(settings)
    yield publisher
    publisher.close(0.0)


@pytest.mark.parametrize(("value", "number"), NUMBERS, ids=lambda v: f"{type(v).__name__} {v}")
@pytest.mark.parametrize("field", ["reward", "quality", "duration_seconds"])
def test_every_kind_of_number_is_a_number(field: str, value: Any, number: float) -> None:
    message, left_out = usable(an_invocation(**{field: value}))
    assert (getattr(message, field), left_out) == (number, ())
    checked(message)


@pytest.mark.parametrize("value", [2, 2.0, np.int64(2), np.float32(2.0), Decimal(2), Fraction(4, 2), np.array(2)])
@pytest.mark.parametrize("field", ["error_count", "active_epoch"])
def test_every_whole_number_counts(field: str, value: Any) -> None:
    message, left_out = usable(an_invocation(**{field: value}))
    found = getattr(message, field)
    assert (found, type(found), left_out) == (2, int, ())
    checked(message)


@pytest.mark.parametrize("value", UNUSABLE, ids=lambda v: type(v).__name__)
def test_an_unusable_score_is_left_out_and_the_outcome_is_published(
    publisher: Publisher, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert publisher.invocation(AGENT, TASK, "v1", "success", quality=value) is True
    assert publisher.stats == (0, 1, 0, 0, 0)
    [line] = [record.message for record in caplog.records if "left out" in record.message]
    assert line.startswith("quality = ")
    assert "the rest is published" in line


@pytest.mark.parametrize(
    "wrong",
    [
        {"error_count": 2.5},
        {"error_count": -1},
        {"error_count": 10**7},
        {"error_count": None},
        {"complexity": "huge"},
        {"complexity": 3},
        {"provider": object()},
        {"model": "m" * 3_000},
        {"duration_seconds": -1.0},
        {"duration_seconds": "fast"},
        {"reward": 7, "quality": float("nan"), "complexity": "huge"},
    ],
)
def test_whatever_may_be_absent_costs_only_itself(publisher: Publisher, wrong: dict[str, Any]) -> None:
    assert publisher.invocation(AGENT, TASK, "v1", "success", **wrong) is True
    assert publisher.stats.queued == 1


def test_a_role_that_cannot_be_read_is_no_live_outcome(publisher: Publisher) -> None:
    assert publisher.invocation(AGENT, TASK, "v1", "success", role="Shadow") is False


@given(
    value=st.one_of(
        st.floats(),
        st.integers(),
        st.decimals(),
        st.fractions(),
        st.booleans(),
        st.text(max_size=5),
        st.floats(width=32).map(np.float32),
        st.floats().map(np.array),
        st.none(),
    ),
    field=st.sampled_from(["reward", "quality", "error_count", "duration_seconds", "active_epoch"]),
)
def test_whatever_a_judge_returns_leaves_a_message_that_every_reader_takes(value: Any, field: str) -> None:
    message, left_out = usable(an_invocation(**{field: value}))
    checked(message)
    kept = getattr(message, field)
    default = 0 if field == "error_count" else None
    assert kept == default if left_out or value is None else float(kept) == float(value)


def test_a_good_message_is_what_it_was() -> None:
    message: m.Invocation = an_invocation(reward=0.5, quality=0.25, error_count=3, model="m")
    assert usable(message).message is not None
    assert usable(message) == (message, ())


def test_a_block_takes_the_scores_of_any_judge(settings: Settings) -> None:
    client = Client(settings)
    with client.invocation(AGENT, TASK) as inv:
        inv.quality = np.float32(0.9)
        inv.error_count = np.int64(1)
        inv.reward = "a text"
    assert client.publisher.stats == (0, 1, 0, 0, 0)
    client.close(0.0)


def test_the_client_does_not_import_numpy() -> None:
    ask = "import sys; import crl_stream.client; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, env=environment_of_this_checkout(), check=True
    )
    assert done.stdout.strip() == "False"
