"""An interval holds the truth about as often as it claims to, and is no wider than it must be."""

from __future__ import annotations

from random import Random

import pytest

from crl_stream.calibration.estimates import Events, mean, rate


def poisson(random: Random, expected: float) -> int:
    count, time = 0, random.expovariate(1.0)
    while time < expected:
        count, time = count + 1, time + random.expovariate(1.0)
    return count


def tasks(random: Random, true: float, count: int) -> list[Events]:
    return [Events(poisson(random, true), 1.0) for _ in range(count)]


@pytest.mark.parametrize("true", [0.02, 0.3, 4.0])
@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_the_interval_of_a_rate_holds_the_truth(true: float, spread: float) -> None:
    """Resampled histories differ in their rates from the history as much as the history differs from the truth."""
    random, holds = Random(f"{true} {spread}"), 0
    for _ in range(200):
        seen = true * random.lognormvariate(0.0, spread)
        groups = [tasks(random, seen * random.lognormvariate(0.0, spread), 8) for _ in range(15)]
        found = rate(tasks(random, seen, 120), groups)
        holds += found.low <= true <= found.high
    assert holds >= 180


def test_without_an_event_the_upper_end_is_about_that_of_three_in_all_tasks() -> None:
    none = [Events(0, 1.0)] * 100
    found = rate(none, [none] * 10)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0.02 < found.high < 0.03


def test_more_tasks_narrow_what_the_simulation_adds_but_not_what_the_history_leaves_open() -> None:
    random = Random(7)
    alike = [tasks(random, 2.0, 8) for _ in range(50)]
    few, many = (rate(tasks(random, 2.0, count), alike) for count in (20, 2_000))
    assert many.high - many.low < 0.8 * (few.high - few.low)
    differing = [tasks(random, 2.0 * random.lognormvariate(0.0, 0.5), 8) for _ in range(50)]
    few, many = (rate(tasks(random, 2.0, count), differing) for count in (20, 2_000))
    assert many.simulated < few.simulated
    assert many.high / many.low > 3.0


def test_the_interval_reaches_what_resampled_histories_show_even_if_the_history_shows_nothing() -> None:
    """Two variants seem different by chance, so nothing is rolled back, except in half of the resampled histories."""
    none = [Events(0, 1.0)] * 100
    groups = [[Events(count, 1.0)] * 8 for count in (0, 4) for _ in range(8)]
    assert rate(none, groups).high > 4.0


def test_the_interval_of_a_mean_holds_the_truth() -> None:
    random, holds = Random(8), 0
    for _ in range(200):
        seen = random.gauss(1.0, 0.5)
        groups = [
            [random.gauss(centre, 2.0) for _ in range(8)] for centre in (random.gauss(seen, 0.5) for _ in range(15))
        ]
        found = mean([random.gauss(seen, 2.0) for _ in range(120)], groups)
        holds += found.low <= 1.0 <= found.high
    assert holds >= 180


def test_one_of_many_comparisons_has_a_wider_interval() -> None:
    values = [float(number % 7) for number in range(50)]
    alone, among = mean(values, [values[:4], values[4:8]]), mean(values, [values[:4], values[4:8]], 10)
    assert among.low < alone.low < alone.value == among.value < alone.high < among.high
