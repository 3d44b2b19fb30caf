"""A gauge agrees with a recount of all its values."""

from __future__ import annotations

from math import exp
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.gauges import FEWEST, OWN, Change, Level
from crl_stream.core.monitor.likelihood import CEILING, FADING
from crl_stream.core.monitor.row import Gauge, Spread

SIZE, MEMORY = 5, 50
Sums = tuple[int, float, float]
"""Number, sum and sum of squares."""


class Recount:
    """What the text of ``gauges`` says about values that are small whole numbers, so that every sum is exact."""

    def __init__(self) -> None:
        self.window: list[float] = []
        self.past: Sums = (0, 0.0, 0.0)
        self.evidence = [0.0] * 3
        self.lowest, self.seen, self.since_alert, self.is_open = 0.0, 0, 0, False
        self.frozen: Sums | None = None

    def measure(self, value: float, limit: float, floor: float) -> None:
        self.lowest = min(self.lowest, value)
        if (base := self.baseline()) is not None:
            self.evidence = [
                grown(self.evidence[at], value, base, self.lowest, 2**at * limit, floor) for at in range(3)
            ]
        self.window.append(value)
        self.leave(len(self.window) - SIZE)
        self.seen += 1
        self.since_alert += 1

    def leave(self, count: int) -> None:
        for value in self.window[: max(0, count)]:
            if not self.is_open:
                n, total, squares = self.past[0] + 1, self.past[1] + value, self.past[2] + value**2
                self.past = (n // 2, total / 2, squares / 2) if n >= MEMORY and n % 2 == 0 else (n, total, squares)
        self.window = self.window[max(0, count) :]

    def alert(self) -> None:
        self.is_open, self.since_alert, self.evidence = True, 0, [0.0] * 3

    def end(self) -> None:
        self.is_open, self.evidence = False, [0.0] * 3

    def restart(self, frozen: Sums | None, head_start: float) -> None:
        self.leave(len(self.window))
        self.is_open, self.seen, self.frozen, self.evidence = False, 0, frozen, [head_start] * 3
        if frozen is not None:
            self.lowest = min(self.lowest, frozen[1] / frozen[0])

    def accept(self) -> None:
        self.past, self.frozen, self.is_open, self.seen = (0, 0.0, 0.0), None, False, 0
        self.window, self.evidence = [], [0.0] * 3

    def baseline(self) -> Sums | None:
        if self.frozen is not None and (self.is_open or self.seen < MEMORY / 2):
            return self.frozen
        return self.past if self.past[0] >= OWN or 2 * self.past[0] >= MEMORY else None

    def left_behind(self) -> Sums | None:
        own = self.past if self.past[0] >= FEWEST else self.frozen
        found = self.baseline() if self.is_open else own
        return found if found is not None and found[0] >= FEWEST else None

    def change(self, least: int, limit: float, floor: float) -> Change | None:
        base, n = self.baseline(), len(self.window)
        if base is None or n < least or n < 2:
            return None
        before, mean = base[1] / base[0], sum(self.window) / n
        accepted = max(limit * abs(before), floor)
        without_highest = sorted(self.window)[:-1]
        if min(mean, sum(without_highest) / (n - 1)) - before <= accepted:
            return None
        relative = (mean - before) / abs(before) if before else mean
        return Change(Level(base[0], before), Level(n, mean), relative)

    def level(self) -> Level | None:
        n = self.past[0] + len(self.window)
        return Level(n, (self.past[1] + sum(self.window)) / n) if n else None


def grown(statistic: float, value: float, base: Sums, lowest: float, by: float, floor: float) -> float:
    """Return one e-SR statistic after one more value, with an alternative of ``by`` times the mean."""
    n, total, squares = base
    mean = total / n
    variance = max(squares / n - mean**2, (0.05 * mean) ** 2)
    upper = mean + (variance / n) ** 0.5
    shift = max(by * abs(upper), floor)
    bet = shift / (variance + shift**2) if shift > 0 else CEILING
    bet = min(bet, 0.9 / (upper - lowest) if upper > lowest else CEILING)
    return min((statistic + 1.0) * max(0.0, FADING + bet * (value - upper)), CEILING)


def spread_of(sums: Sums | None) -> Spread | None:
    return None if sums is None else Spread(*sums)


levels = st.sampled_from([0.0, 1.0, 2.0, 3.0, 8.0, -1.0, -4.0])
steps = st.one_of(
    st.tuples(st.just("measure"), levels, levels, st.sampled_from([1, 2, 4, 10, 40, 120])),
    st.just(("alert",)),
    st.just(("end",)),
    st.tuples(
        st.just("restart"),
        st.none() | st.builds(lambda n, mean: (n, n * mean, 2 * n * mean**2), st.sampled_from([1, 19, 20, 64]), levels),
        st.sampled_from([0.0, 0.5]),
    ),
    st.just(("accept",)),
)


@given(
    st.tuples(st.just("measure"), levels, levels, st.sampled_from([25, 44, 45, 46, 90])),
    st.lists(steps, max_size=8),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0, 6.0]),
    st.sampled_from([1, 2, 3, 5]),
)
def test_a_gauge_agrees_with_a_recount_of_all_its_values(
    begun: tuple[Any, ...], drawn: list[tuple[Any, ...]], limit: float, floor: float, least: int
) -> None:
    gauge, recount = Gauge(), Recount()
    for kind, *given_ in (begun, *drawn):
        if kind == "measure":
            one, other, times = given_
            for at in range(times):
                value = other if at % 2 else one
                found = gauges.measure(gauge, value, SIZE, MEMORY, limit, floor)
                recount.measure(value, limit, floor)
                assert found == pytest.approx(sum(recount.evidence) / 3, rel=1e-9)
        elif kind == "alert":
            gauge.open_alert, gauge.since_alert, gauge.evidence = "alert", 0, [0.0] * 3
            recount.alert()
        elif kind == "end":
            gauge.open_alert, gauge.evidence = "", [0.0] * 3
            recount.end()
        elif kind == "restart":
            frozen, head_start = given_
            gauges.restart(gauge, MEMORY, spread_of(frozen), head_start)
            recount.restart(frozen, head_start)
        else:
            gauges.accept(gauge)
            recount.accept()
        assert gauges.baseline_of(gauge, MEMORY) == spread_of(recount.baseline())
        assert gauges.left_behind(gauge, MEMORY) == spread_of(recount.left_behind())
        assert gauges.change_of(gauge, MEMORY, least, limit, floor) == recount.change(least, limit, floor)
        assert gauges.level_of(gauge) == recount.level()
        assert gauges.values_of(gauge) == recount.window
        n = len(recount.window)
        assert gauges.recent_of(gauge) == (Level(n, sum(recount.window) / n) if n else None)
        assert gauge.evidence == pytest.approx(recount.evidence, rel=1e-9)
        assert (gauge.least, gauge.since_alert) == (recount.lowest, recount.since_alert)
        assert bool(gauge.open_alert) is recount.is_open


def test_the_evidence_of_unchanged_values_grows_by_at_most_one_per_value_on_average() -> None:
    base, ended = Spread(10_000, 10_000.0, 10_000.0 * 1.28), []
    for seed in range(400):
        luck, found = Random(seed), [0.0, 0.0, 0.0]
        for _ in range(100):
            found = gauges.weigh(found, exp(luck.gauss(-0.125, 0.5)), base, 0.0, 0.5, 0.0)
        ended.append(sum(found) / 3)
    assert sum(ended) / len(ended) < 110


@pytest.mark.parametrize(
    ("before", "values", "least", "limit", "floor", "relative"),
    [
        (2.0, [4.0, 4.0], 1, 0.5, 0.0, 1.0),
        (2.0, [4.0], 1, 0.5, 0.0, None),
        (2.0, [4.0, 4.0], 3, 0.5, 0.0, None),
        (2.0, [4.0, 4.0, 4.0], 3, 0.5, 0.0, 1.0),
        (2.0, [3.0, 9.0], 1, 0.5, 0.0, None),
        (2.0, [3.5, 8.5], 1, 0.5, 0.0, 2.0),
        (4.0, [5.0, 5.0], 1, 0.5, 0.0, None),
        (2.0, [8.0, 8.0], 1, 0.5, 6.0, None),
        (2.0, [9.0, 9.0], 1, 0.5, 6.0, 3.5),
        (0.0, [3.0, 5.0], 1, 0.5, 1.0, 4.0),
        (-4.0, [-1.0, -1.0], 1, 0.5, 0.0, 0.75),
        (-4.0, [-2.0, -2.0], 1, 0.5, 0.0, None),
    ],
)
def test_a_change_is_more_than_limit_and_floor_allow_also_without_the_highest_value(
    before: float, values: list[float], least: int, limit: float, floor: float, relative: float | None
) -> None:
    gauge = Gauge(bytearray(b"".join(map(gauges.VALUE.pack, values))), Spread(64, 64 * before, 64 * before * before))
    found = gauges.change_of(gauge, 200, least, limit, floor)
    mean = sum(values) / len(values)
    expected = relative and Change(Level(64, before), Level(len(values), mean), relative)
    assert found == expected


@pytest.mark.parametrize(("n", "own"), [(19, False), (20, True)])
def test_a_successor_is_compared_with_a_predecessor_of_twenty_values_or_more(n: int, own: bool) -> None:
    past, frozen = Spread(n, 1.0 * n, 1.0 * n), Spread(64, 128.0, 256.0)
    assert gauges.left_behind(Gauge(past=past, frozen=frozen), 200) == (past if own else frozen)
    assert gauges.left_behind(Gauge(past=past), 200) == (past if own else None)


def test_a_variant_that_returns_is_compared_with_its_own_past_at_once() -> None:
    gauge = Gauge(past=Spread(64, 64.0, 64.0))
    gauge.evidence = [7.0] * 3
    gauges.restart(gauge, 200)
    assert gauge.evidence == [0.0] * 3
    assert gauges.baseline_of(gauge, 200) == Spread(64, 64.0, 64.0)
    gauge.frozen = Spread(64, 128.0, 256.0)
    for seen, mean in ((0, 2), (99, 2), (100, 1)):
        gauge.seen = seen
        base = gauges.baseline_of(gauge, 200)
        assert base is not None and base.total == 64.0 * mean
    gauge.open_alert = "alert"
    assert gauges.baseline_of(gauge, 200) == gauge.frozen, "the baseline of an alert stays until it ends"


@pytest.mark.parametrize(("mean", "least"), [(4.0, 0.0), (-4.0, -4.0)])
def test_no_value_was_ever_lower_than_the_mean_of_the_replaced_variant(mean: float, least: float) -> None:
    gauge = Gauge()
    gauges.restart(gauge, 200, Spread(20, 20 * mean, 20 * mean * mean))
    assert gauge.least == least


def test_an_accepted_level_ends_the_alert_and_is_learned_from_scratch() -> None:
    gauge = Gauge(past=Spread(64, 64.0, 64.0), frozen=Spread(64, 1.0, 1.0), open_alert="alert")
    gauges.accept(gauge)
    assert (gauge.open_alert, gauges.level_of(gauge), gauges.baseline_of(gauge, 200)) == ("", None, None)
    for _ in range(45):
        gauges.measure(gauge, 4.0, 5, 200, 0.5, 0.0)
    assert gauges.baseline_of(gauge, 200) == Spread(40, 160.0, 640.0)


def test_the_past_is_halved_only_if_its_number_stays_whole_also_after_the_memory_became_shorter() -> None:
    gauge = Gauge(past=Spread(60, 60.0, 60.0))
    for n in (61, 31):
        gauges.measure(gauge, 1.0, 5, 40, 0.5, 0.0)
        gauges.restart(gauge, 40)
        assert gauge.past == Spread(n, float(n), float(n))


@pytest.mark.parametrize("mean", [0.25, 0.5, 2.0, -0.25, -0.5, -2.0])
@pytest.mark.parametrize("value", [-3.0, 0.0, 0.75, 9.0])
def test_evidence_is_weighed_by_the_size_of_the_mean(mean: float, value: float) -> None:
    sums = 64, 64 * mean, 96 * mean * mean
    least = min(0.0, value, 6 * mean)
    found = gauges.weigh([1.0, 2.0, 3.0], value, Spread(*sums), least, 0.5, 0.0)
    expected = [grown(at + 1.0, value, sums, least, 2**at * 0.5, 0.0) for at in range(3)]
    assert min(found) > 0.0
    assert found == pytest.approx(expected)


def test_any_value_is_evidence_enough_if_there_was_never_anything_but_zero() -> None:
    assert gauges.weigh([0.0] * 3, 2.0, Spread(40, 0.0, 0.0), 0.0, 0.5, 0.0) == [CEILING] * 3
    assert gauges.weigh([0.0] * 3, 0.0, Spread(40, 0.0, 0.0), 0.0, 0.5, 0.0) == [FADING] * 3
