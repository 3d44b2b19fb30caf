"""A calibration as text: the history, two tables, bars, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import log10
from typing import Final, NamedTuple

from crl_stream.calibration.closed_loop import AFTER_FALL, HEALTHY
from crl_stream.calibration.estimates import Estimate
from crl_stream.calibration.fragment import fragment
from crl_stream.calibration.measurement import FallFigures, Figures
from crl_stream.calibration.recommendation import Recommendation
from crl_stream.calibration.stock import LEAST_OF_OTHERS, MOST_OTHERS, Stock, Supply, described
from crl_stream.cli.calibrate.source import Source
from crl_stream.cli.talk import lay_out, say, show, show_table
from crl_stream.core.policy import PolicySet

_BAR: Final = 25
"""Width of a bar in characters."""
_HEADINGS: Final = {
    "change": "Change the policy: use {name}.",
    "keep": "Keep the present policy.",
    "undecided": "Keep the present policy for now: the figures show no clear difference from {name}.",
    "none_within_budget": "No policy fits.",
}


class Calibration(NamedTuple):
    """Everything that a calibration has found."""

    source: Source
    supply: Supply
    figures: list[Figures]
    """The figures of each policy, the present policy first."""
    recommendation: Recommendation
    settings: PolicySet
    """The policies of the user's settings, to which the recommended fragment is added."""
    budget: float
    falls: float
    seed: str
    tasks: int
    whole: bool

    def fragment(self) -> str:
        """Return the settings to add to ``crl.toml``; empty if nothing should change."""
        advice = self.recommendation
        if advice.conclusion != "change" or advice.chosen is None:
            return ""
        return fragment(self.source.history.key, advice.chosen.alternative.policy, self.settings)


def show_page(found: Calibration) -> None:
    """Print the calibration."""
    for line in _history(found):
        show(line)
    show("")
    show_table(("policy", "false rollbacks", "healthy loss", "harm"), map(_costs, found.figures), empty="")
    show(f"  per 1,000, with 95 % intervals; harm: good outcomes lost, {_falls_of(found)} included")
    if any(one.healthy_loss.value <= -0.005 for one in found.figures):
        show("  negative: a gain, because a better variant than the active one took over")
    show("")
    sizes = [f"falls to {fall.left:.0%}" for fall in found.figures[0].falls]
    show_table(("policy", *sizes), [_falls(one) for one in found.figures], empty="")
    show(f"  share of variants replaced within {AFTER_FALL} outcomes, after how many (median/p90), good outcomes lost")
    if not all(fall.pays for fall in found.figures[0].falls):
        show("  (stay): no other variant is better than the fallen one, so it is right to keep it")
    show("")
    for line in _bars(found.figures, found.budget):
        show(line)
    show("")
    for line in _advice(found):
        show(line)
    say(f"seed {found.seed}, {found.tasks} tasks per policy from the history, and as many from resampled histories")


def _history(found: Calibration) -> Iterator[str]:
    history, supply = found.source.history, found.supply
    yield f"{history.key}: {history.outcomes:,} outcomes from {found.source.place}"
    for stock in (supply.active, *supply.others):
        yield from _variant(stock, active=stock is supply.active)
    if supply.left_out:
        listed = ", ".join(f"{name} ({count:,})" for name, count in supply.left_out)
        why = f"fewer than {LEAST_OF_OTHERS} stable outcomes, or {MOST_OTHERS} better variants"
        yield f"  left out ({why}): {listed}"
    counts = {
        "older outcomes not used (--last)": history.older,
        "repeated ids not counted twice": history.duplicates,
        "shadow outcomes not counted": history.shadow,
        "late scores": history.scores,
    }
    if said := ", ".join(f"{count:,} {what}" for what, count in counts.items() if count):
        yield f"  {said}"
    if not supply.by_success:
        yield "  nothing ever fails, so an outcome counts (reward + 1) / 2 as good"
    if supply.synthetic:
        yield "  the history contains no failure, so falls use made-up failures with the worst scores"
    yield f"present: {found.source.present.words}"
    for one in found.figures:
        if one.alternative.same_as:
            yield f"  {one.alternative.name} is the same as {', '.join(one.alternative.same_as)}"


def _variant(stock: Stock, *, active: bool) -> Iterator[str]:
    rates, stretch = stock.rates, stock.stretch
    figures = f"success {rates['success']:.1%}, errors {rates['errors']:.1%}, reward {rates['reward']:.2f}"
    if stock.copy_of is not None:
        yield f"  {stock.name}: assumed, a copy to roll back to, because no other variant has enough outcomes"
        yield "    (rolling back to a copy costs nothing, so the harm leaves out what false rollbacks cost)"
        return
    part = f"{stock.total:,} outcomes"
    if len(stock.outcomes) < stock.total:
        part = f"{len(stock.outcomes):,} of {part}, {stretch.first + 1:,} to {stretch.end:,}"
    yield f"  {stock.name}{' (active)' if active else ''}: {part}: {figures}"
    if stock.length > 1:
        yield f"    outcomes come in long runs, so blocks of {stock.length:g} are kept together"
    for change in stretch.changes:
        yield f"    changes after outcome {change.at:,}: {described(change)}"


def _costs(one: Figures) -> tuple[str, str, str, str]:
    return (
        one.alternative.name,
        _with_interval(one.false_rollbacks),
        _number(one.healthy_loss.value),
        _with_interval(one.harm),
    )


def _falls(one: Figures) -> tuple[str, ...]:
    return (one.alternative.name, *map(_fall, one.falls))


def _fall(fall: FallFigures) -> str:
    lost = f"{fall.lost.value:.0f}"
    if not fall.pays:
        return f"(stay)  {lost}"
    if fall.delay_median is None:
        return f"{fall.caught.value:.0%}  {lost}"
    return f"{fall.caught.value:.0%} {fall.delay_median:.0f}/{fall.delay_p90}  {lost}"


def _falls_of(found: Calibration) -> str:
    return f"{found.falls:g} {'fall' if found.falls == 1 else 'falls'} in 10,000"


def _with_interval(one: Estimate) -> str:
    return f"{_number(one.value)} ({_number(one.low)} to {_number(one.high)})"


def _number(value: float) -> str:
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _bars(figures: Sequence[Figures], budget: float) -> list[str]:
    """Return one line for each policy: its false rollbacks on a logarithmic scale, and its harm."""
    rates = [x for one in figures for x in one.false_rollbacks[:3] if x > 0.0]
    low, high = log10(max(0.001, min([*rates, budget or 1.0]))), log10(max([*rates, budget]))
    harms = [x for one in figures for x in one.harm[:3]]
    least, most = min(0.0, *harms), max(0.0, *harms)
    on_log = lambda x: (log10(max(x, 1e-9)) - low) / max(high - low, 1e-9)  # noqa: E731 - two scales of one kind
    linear = lambda x: (x - least) / max(most - least, 1e-9)  # noqa: E731
    rows = [["", "false rollbacks", "harm"]]
    for one in figures:
        rate = _bar(one.false_rollbacks, on_log, budget)
        rows.append([one.alternative.name, rate, _bar(one.harm, linear, 0.0)])
    rows.append(
        ["", _scale(f"{10**low:.1g}", _number(10**high)), _scale(_number(least), _number(most))],
    )
    return [*lay_out(rows), f"  | marks the budget of {budget:g}, and a harm of 0"]


def _bar(one: Estimate, place: Callable[[float], float], mark: float) -> str:
    def at(value: float) -> int:
        return round((_BAR - 1) * min(1.0, max(0.0, place(value))))

    cells = [" "] * _BAR
    for cell in range(at(one.low), at(one.high) + 1):
        cells[cell] = "-"
    cells[at(mark)] = "|"
    cells[at(one.value)] = "o"
    return "".join(cells)


def _scale(low: str, high: str) -> str:
    return low + high.rjust(_BAR - len(low))


def _advice(found: Calibration) -> Iterator[str]:
    advice = found.recommendation
    name = "" if advice.chosen is None else advice.chosen.alternative.name
    yield _HEADINGS[advice.conclusion].format(name=name)
    for reason in advice.reasons:
        yield f"  {reason}."
    yield (
        f"  Recommended: the least harm within {found.budget:g} false rollbacks per 1,000 (--budget), with "
        f"{_falls_of(found)} outcomes (--falls); each task was followed for {HEALTHY:,} healthy outcomes, "
        f"and for {AFTER_FALL} after each fall."
    )
    if text := found.fragment():
        yield ""
        yield "Add this to crl.toml, then run crl policy diff and crl policy apply:"
        yield ""
        yield from text.rstrip().splitlines()
