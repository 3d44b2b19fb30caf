"""The page of one rollback: what was judged, against which limits, with what evidence, who was chosen, who followed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.figures import number
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.policy import Degradation, Policy
from crl_stream.core.reach import touches_words
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages import orders
from crl_stream.dashboard.pages.fleet_page import last_time, look_of, moved, touches
from crl_stream.dashboard.pages.frame import Scene, page
from crl_stream.dashboard.pages.happenings import Happening, happening_of
from crl_stream.dashboard.pages.missing import missing_page
from crl_stream.dashboard.pages.task_page import history_of
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.explaining.fates import fates_of, status_of

_GAUGE = 218
_BEFORE = 3
"""How many earlier changes the page lists."""
_WORDS = {"S": "success", "F": "failure", "E": "error"}


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One judged outcome, with its place in the drawing."""

    letter: str
    word: str
    reward: str
    offset: int | None
    x: int
    top: float
    height: float
    label: float
    """Where the figure stands."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One metric against its limit."""

    name: str
    before: str
    after: str
    change: str
    limit: str
    over: bool | None
    """Whether the change is over the limit; None if the limit is not known."""
    width: float
    mark: float
    """How much of the gauge is filled, and where the limit is; 0 to 218."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of one metric; the scale is logarithmic, 0 to 100."""

    name: str
    value: str
    width: float
    enough: bool


def rollback_page(
    fleet: Fleet,
    rollback_id: str,
    viewer: Viewer,
    now: int,
    *,
    policy: Policy | None = None,
    troubles: Sequence[str] = (),
    parts: bool = False,
) -> str:
    """Return the page of one rollback; a page that says so if the fleet does not know it.

    ``policy`` is the policy that judged it, for the limits; without it, the page names the command that shows them.
    ``parts`` changes nothing here; every page takes it.
    """
    event = fleet.rollbacks.get(rollback_id)
    if event is None:
        hint = "Only the newest rollbacks are kept for the pages; the command reads the whole topic."
        return missing_page(viewer, f"{rollback_id} is not known here.", hint, "crl rollbacks")
    scene = Scene(fleet=fleet, viewer=viewer, now=now, troubles=troubles, orders=[])
    key = TaskKey(event.agent_name, event.task_type)
    fate = fates_of([event], fleet.facts_of(key))[rollback_id]
    status = status_of(event, fate)
    return page(
        scene,
        "rollback.html",
        title=f"{rollback_id}",
        current="fleet",
        event=event,
        key=key,
        fate=fate,
        status=status,
        look=look_of(status),
        cells=_cells(event.judged),
        counts={letter: event.judged.successes.count(letter) for letter in "SFE"},
        figures=list(_figures(event, None if policy is None else policy.degradation)),
        bars=_bars(event.evidence),
        limit=_place(event.evidence.threshold, _scale(event.evidence)),
        moved=moved(fleet, event),
        receipts=_receipts(fleet, key, event),
        missing=_missing(fleet, key, event),
        unnamed=_unnamed(fleet, key, event),
        before=_before(fleet, key, event),
        acts=[scene.order(order) for order in _acts(fleet, event, status)],
        touches=touches_words(event.touches) or touches(fleet, key),
        last_time=last_time(event),
        parts=parts,
    )


def _acts(fleet: Fleet, event: m.RollbackEvent, status: str) -> Iterator[orders.Order]:
    key = TaskKey(event.agent_name, event.task_type)
    snapshot, reach = fleet.tasks.get(key), touches(fleet, key) or touches_words(event.touches)
    if not event.enforced:
        return
    if status == "not reviewed":
        yield orders.confirm(event, reach)
        if snapshot is None or snapshot.epoch == event.epoch:
            yield orders.undo(event, last_time(event), reach=reach)
            yield orders.hold(key, reach)
    left = () if snapshot is None else (v for v in snapshot.variants if v.variant_id == event.from_variant)
    if any(variant.quarantined and not variant.retired for variant in left):
        yield orders.lift(key, [event.from_variant], reach)


def _cells(judged: m.Judged) -> list[Cell]:
    found = []
    for number_, letter in enumerate(judged.successes):
        reward = judged.rewards[number_] if number_ < len(judged.rewards) else 0.0
        height = abs(reward) * 36
        top = 104.0 - height if reward >= 0 else 104.0
        found.append(
            Cell(
                letter=letter,
                word=_WORDS.get(letter, letter),
                reward=f"{reward:.2f}",
                offset=judged.offsets[number_] if number_ < len(judged.offsets) else None,
                x=70 + number_ * 44,
                top=round(top, 1),
                height=round(height, 1),
                label=round(top - 5 if reward >= 0 else top + height + 13, 1),
            )
        )
    return found


def _figures(event: m.RollbackEvent, limits: Degradation | None) -> Iterator[Figure]:
    figures = event.degradation_metrics
    for detector in DETECTORS:
        before, after = figures.get(f"baseline_{detector.name}"), figures.get(f"recent_{detector.name}")
        if before is None or after is None:
            continue
        change = figures.get(detector.change)
        limit = None if limits is None else float(getattr(limits, detector.setting.name))
        yield _figure(detector.name, before, after, change, limit)
    known = {detector.name for detector in DETECTORS}
    for name in (each.removeprefix("baseline_") for each in figures if each.startswith("baseline_")):
        if name not in known and f"recent_{name}" in figures:
            change = figures.get(f"{name}_increase_pct", figures.get(f"{name}_drop_pct"))
            yield _figure(name, figures[f"baseline_{name}"], figures[f"recent_{name}"], change, None)


def _figure(name: str, before: float, after: float, change: float | None, limit: float | None) -> Figure:
    most = max(2.2 * limit if limit else 0.0, change or 0.0, 0.5)
    return Figure(
        name=name,
        before=f"{before:.3f}",
        after=f"{after:.3f}",
        change="-" if change is None else f"{change:.1%}",
        limit="" if limit is None else f"{limit:.1%}",
        over=None if limit is None else change is not None and change > limit,
        width=round(_GAUGE * max(0.0, change or 0.0) / most, 1),
        mark=0.0 if limit is None else round(1 + _GAUGE * limit / most, 1),
    )


def _scale(evidence: m.Evidence) -> float:
    return max(evidence.threshold, evidence.e_value, *evidence.e_values.values(), 10.0)


def _place(value: float, most: float) -> float:
    if value <= 1 or not math.isfinite(most):
        return 0.0
    return round(100 * min(1.0, math.log(value) / math.log(most)), 1) if math.isfinite(value) else 100.0


def _bars(evidence: m.Evidence) -> list[Bar]:
    most = _scale(evidence)
    return [
        Bar(name=name, value=number(value), width=_place(value, most), enough=value >= evidence.threshold)
        for name, value in [("together", evidence.e_value), *evidence.e_values.items()]
    ]


def _receipts(fleet: Fleet, key: TaskKey, event: m.RollbackEvent) -> list[m.Receipt]:
    """Return who has moved to the epoch of the rollback, the fastest first."""
    found = [receipt for receipt in fleet.receipts_of(key).values() if receipt.epoch == event.epoch and event.enforced]
    return sorted(found, key=lambda receipt: (receipt.milliseconds, receipt.runtime_id))


def _missing(fleet: Fleet, key: TaskKey, event: m.RollbackEvent) -> list[tuple[str, str]]:
    """Return the runtimes that have not followed the rollback, with a word for each: stuck or not moved."""
    snapshot = fleet.tasks.get(key)
    if not event.enforced:
        return []
    if snapshot is not None and snapshot.epoch == event.epoch:
        behind = snapshot.runtimes_behind or ()
        return [(one.runtime_id, "stuck" if one.stuck else "not moved") for one in behind]
    moved_since = {one.runtime_id for one in _receipts(fleet, key, event)}
    for fact in fleet.facts_of(key):
        if isinstance(fact, m.Adoption) and fact.cause_id == event.rollback_id:
            told = [(name, "stuck") for name in fact.stuck] + [(name, "not moved") for name in fact.waiting]
            return [one for one in told if one[0] not in moved_since]
    return []


def _unnamed(fleet: Fleet, key: TaskKey, event: m.RollbackEvent) -> str:
    """Return why runtimes that have moved have no line of their own; empty if all have one."""
    if not event.enforced:
        return "Nothing was changed, so no runtime had to move."
    snapshot, named = fleet.tasks.get(key), len(_receipts(fleet, key, event))
    names = f"Their names are not known here: crl runtimes {key} shows who uses which epoch."
    if snapshot is not None and snapshot.epoch > event.epoch:
        names = f"Their names are no longer kept, because epoch {snapshot.epoch} has begun since."
    if (told := moved(fleet, event)) is None:
        is_empty = not named and not _missing(fleet, key, event)
        return f"It is not known here which runtimes have moved. {names}" if is_empty else ""
    have, expected = told
    if not expected:
        return "No runtime was expected to move." if not named else ""
    if have <= named:
        return "" if have else "None had moved when this was last counted."
    who = f"{have - named} more" if named else f"All {have}" if have == expected else f"{have} of {expected}"
    return f"{who} had moved. {names}"


def _before(fleet: Fleet, key: TaskKey, event: m.RollbackEvent) -> list[Happening]:
    """Return the newest changes before the rollback, and always the one that made its variant active."""
    when = from_text(event.timestamp)
    earlier = [one for one in history_of(fleet, key) if from_text(one.timestamp) < when]
    made = _made_active(fleet, key, event)
    if made is None or made.id in {one.id for one in earlier[:_BEFORE]}:
        return earlier[:_BEFORE]
    return [*earlier[: _BEFORE - 1], made]


def _made_active(fleet: Fleet, key: TaskKey, event: m.RollbackEvent) -> Happening | None:
    """Return what brought the variant that was left: a command, a rollout, an earlier rollback, or the monitor."""
    facts = fleet.facts_of(key)
    for fact in facts:
        if isinstance(fact, m.RolloutStep) and fact.step == "started" and fact.rollout_id == event.rollout_id:
            return happening_of(fact)
        if not isinstance(fact, m.Activation) or not fact.enforced or fact.to_variant != event.from_variant:
            continue
        if event.rollout_id is not None or fact.epoch >= event.epoch + (not event.enforced):
            continue
        results = (one for one in facts if isinstance(one, m.CommandResult) and one.command_id == fact.cause_id)
        return happening_of(next(results, None) or fleet.rollbacks.get(fact.cause_id) or fact)
    return None
