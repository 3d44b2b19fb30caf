"""The table of transitions: every transition in it can happen, and no others can."""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from core.task import proven
from crl_stream.contract import contract_root
from crl_stream.contract.lifecycle_page import lifecycle_page, page_of
from crl_stream.core.messages import Alert, Candidate
from crl_stream.core.messages.parts import Evidence, Judged
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor import lifecycle
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.lifecycle import MACHINES, TRANSITIONS, apply, states_of
from crl_stream.core.monitor.promise import Promise
from crl_stream.core.monitor.row import (
    REGISTERED,
    RETIRED,
    SEEN,
    Configuration,
    Frozen,
    Gauge,
    Incident,
    Left,
    OneRuntime,
    Prediction,
    Rollout,
    StandingOrder,
    Sums,
    TaskRow,
    Variant,
    Watched,
    decode_row,
    encode_row,
)
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.policy import Policy

CORE = Path(lifecycle.__file__).parent
EVIDENCE = Evidence("DEGRADED", "none", 0.0, 1.0, False, {})
GROUNDS = Grounds("why", "success_rate", {}, EVIDENCE, Judged([], "", [], 0, "lifetime", "it"), 0.5, 0.1)
ORDER = StandingOrder("ann", "", 0, until=1)
ALONE = OneRuntime("h3", 30, "success_rate", 900_000, 12, 20, 2, 30, "9 of 10 failed outcomes come from runtime h3")
CAUSE = Incident("cc-1", "provider:p", 0, 0, 0, 0, 1, 1, 10, "default", Sums(), {})
ENFORCE = Policy()
SHADOW = msgspec.structs.replace(ENFORCE, operations=msgspec.structs.replace(ENFORCE.operations, mode="shadow"))
NOTHING = Promise(0, 0, 0, 0)
PREDICTION = Prediction(1, "command", "cmd-1", "cmd-1", "other", [0] * 4, [0] * 4, Sums(), Sums())


def a_watch(it: Variant, other: Variant) -> Watched:
    """Build the record of a rollback from ``it`` to ``other`` that shadow mode reported."""
    return Watched(
        "rb-1", it.variant_id, other.variant_id, 1, "success_rate", it.life, it.life, other.life, other.life, ""
    )


EVENTS: dict[type, Callable[[Variant, Variant], Any]] = {
    c.BecameDegraded: lambda it, _: c.BecameDegraded(it, GROUNDS, "deg-1"),
    c.StayedDegraded: lambda it, _: c.StayedDegraded(it),
    c.CountedHealthy: lambda it, _: c.CountedHealthy(it),
    c.Recovered: lambda it, _: c.Recovered(it, GROUNDS, 5),
    c.GivenUp: lambda it, _: c.GivenUp(it, "retired"),
    c.LevelAccepted: lambda it, _: c.LevelAccepted(it, "ann"),
    c.AlertOpened: lambda it, _: c.AlertOpened(it, GROUNDS, "deg-1"),
    c.HeldBack: lambda it, _: c.HeldBack(it, "held by ann", "deg-1"),
    c.FoundNoTarget: lambda it, _: c.FoundNoTarget(it, [Candidate("other", 0.0, 0, False, "quarantined")], "deg-1"),
    c.FoundOneRuntime: lambda it, _: c.FoundOneRuntime(it, ALONE, "deg-1"),
    c.OneRuntimeEnded: lambda it, _: c.OneRuntimeEnded(it, "deg-1"),
    c.GuardrailBroken: lambda it, _: c.GuardrailBroken(it, "cost", GROUNDS, "gr-1", leads=False),
    c.GuardrailKept: lambda it, _: c.GuardrailKept(it, "cost", "gr-0", "back"),
    c.GuardrailsAccepted: lambda it, _: c.GuardrailsAccepted(it, "ann"),
    c.RolledBack: lambda it, other: c.RolledBack(
        it, other, GROUNDS, [], "rb-1", "deg-1", Promise(20, 10, 5, 20), a_watch(it, other)
    ),
    c.LookedBack: lambda it, other: c.LookedBack(a_watch(it, other), "right", "why", 50, 40, 0, False, 40, 0),
    c.TakenBack: lambda it, other: c.TakenBack(other, it, "rb-0", "worse"),
    c.Benefited: lambda *_: c.Benefited(PREDICTION, "open", "why", NOTHING, NOTHING, False, True),
    c.VerificationEnded: lambda *_: c.VerificationEnded(),
    c.CommonCauseFound: lambda *_: c.CommonCauseFound(CAUSE, "a: worse; b: worse"),
    c.CommonCauseEnded: lambda it, _: c.CommonCauseEnded(CAUSE, "recovered", [it]),
    c.Activated: lambda it, _: c.Activated(it, "command", "cmd-1", "ordered"),
    c.WouldPromote: lambda it, _: c.WouldPromote(it, "dec-1", "better"),
    c.Decided: lambda it, _: c.Decided(it, "auto_apply", "dec-1", "better"),
    c.ReviewedRollback: lambda *_: c.ReviewedRollback("rb-0", "confirmed", "ann"),
    c.RolloutStarted: lambda it, _: c.RolloutStarted("ro-1", it, [50, 500], 20, "command", "cmd-1", "ann", "ordered"),
    c.StagePassed: lambda *_: c.StagePassed("monitor", "not worse"),
    c.RolloutPaused: lambda *_: c.RolloutPaused(StandingOrder("ann", "", 0)),
    c.RolloutResumed: lambda *_: c.RolloutResumed("ann", ""),
    c.RolloutStalled: lambda *_: c.RolloutStalled("worse"),
    c.RolloutAborted: lambda it, _: c.RolloutAborted(it, "monitor", "why", "rb-1", GROUNDS, "deg-1"),
    c.Pinned: lambda *_: c.Pinned(ORDER),
    c.Unpinned: lambda *_: c.Unpinned(),
    c.Held: lambda *_: c.Held(ORDER),
    c.HoldProlonged: lambda *_: c.HoldProlonged(20),
    c.HoldEnded: lambda *_: c.HoldEnded(),
    c.FleetHoldNoticed: lambda *_: c.FleetHoldNoticed(1),
    c.Registered: lambda it, _: c.Registered(it, Configuration(), "cmd-2"),
    c.Retired: lambda it, _: c.Retired(it, "cmd-3"),
    c.QuarantineLifted: lambda it, _: c.QuarantineLifted(it),
}
"""For each kind of change, a function that makes one from two variants: its subject and its target."""
PROVEN = encode_row(proven(other="S" * 30).row)
NEEDS = {
    c.HoldProlonged: {"hold": ("held",)},
    c.RolledBack: {"activation": ("active",)},
    c.TakenBack: {"activation": ("active",)},
    c.WouldPromote: {"activation": ("active",)},
    c.RolloutStarted: {"activation": ("active",), "rollout": ("none",)},
    c.StagePassed: {"activation": ("active",), "rollout": ("running", "paused")},
    c.RolloutPaused: {"activation": ("active",), "rollout": ("running", "paused")},
    c.RolloutResumed: {"activation": ("active",), "rollout": ("paused",)},
    c.RolloutStalled: {"activation": ("active",), "rollout": ("running",)},
    c.RolloutAborted: {"activation": ("active",), "rollout": ("running", "paused")},
}
"""The states that each kind of change requires."""


def a_task(states: dict[str, str]) -> tuple[TaskRow, Variant]:
    """Build a row in ``states``; return it with the variant that they describe, the only one that may be active."""
    row = decode_row(PROVEN)
    it = row.variants["default"]
    it.degraded, it.alerted = states["condition"] == "degraded", states["alert"] == "alerted"
    it.quarantined, it.alert_id = states["quarantine"] == "quarantined", "deg-0"
    it.gauges = {"cost": Gauge(open_alert="gr-0" if states["guardrail"] == "broken" else "")}
    it.state = {"seen": SEEN, "registered": REGISTERED, "retired": RETIRED}[states["registration"]]
    row.active = None if states["activation"] == "none" else "default"
    row.left = None if states["verification"] == "settled" else Left("rb-0", "other", 30, 15, 10, 30)
    if states["rollout"] != "none":
        row.rollout = Rollout("ro-0", "other", [50, 500], 20, "command", "cmd-0", "ann", 0, 0, 0)
        row.rollout.paused = ORDER if states["rollout"] == "paused" else None
        row.variants["other"].baseline = Frozen("default", Sums(), concurrent=True)
    row.incident = None if states["cause"] == "clear" else CAUSE
    row.latch = states["latch"] == "latched"
    row.watched = None if states["hindsight"] == "nothing" else a_watch(it, row.variants["other"])
    row.prediction = None if states["benefit"] == "settled" else PREDICTION
    row.pinned = ORDER if states["pin"] == "pinned" else None
    row.held = StandingOrder("ann", "", 0, until=1) if states["hold"] == "held" else None
    return row, it


def turn_of(row: TaskRow, policy: Policy) -> Turn:
    return Turn(row, Context(0, 99, row.time, 0, "0" * 16), policy)


def expected(before: dict[str, str], event: type, mode: str) -> dict[str, str]:
    """Return the states that follow from ``event`` in the states ``before`` according to the table."""
    after = dict(before)
    for row in TRANSITIONS:
        if row.event is event and before[row.machine] == row.source and row.when not in _OTHER_MODE[mode]:
            after[row.machine] = row.target
    return after


_NOT_TRIED = "by a person, or because it had no lead"
_NOR_THIS = "with a return"
_OTHER_MODE = {"enforce": {"shadow mode", _NOT_TRIED, _NOR_THIS}, "shadow": {"enforced", _NOT_TRIED, _NOR_THIS}}


OF_THE_ROW = {
    "active": "activation",
    "left": "verification",
    "rollout": "rollout",
    "incident": "cause",
    "latch": "latch",
    "watched": "hindsight",
    "prediction": "benefit",
    "pinned": "pin",
    "held": "hold",
}
OF_THE_VARIANT = {
    "degraded": "condition",
    "alerted": "alert",
    "gauges": "guardrail",
    "quarantined": "quarantine",
    "state": "registration",
}
"""The machine whose state is in each field."""
touched: dict[str, None] = {}
"""The machines whose fields were read or written, in that order."""


class SeenRow(TaskRow, array_like=True, gc=False):
    """A row that notes which machines are read or written."""

    def __getattribute__(self, name: str) -> Any:
        if name in OF_THE_ROW:
            touched[OF_THE_ROW[name]] = None
        return TaskRow.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OF_THE_ROW:
            touched[OF_THE_ROW[name]] = None
        TaskRow.__setattr__(self, name, value)


class SeenVariant(Variant, array_like=True, gc=False):
    """A variant that notes which machines are read or written."""

    def __getattribute__(self, name: str) -> Any:
        if name in OF_THE_VARIANT:
            touched[OF_THE_VARIANT[name]] = None
        return Variant.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OF_THE_VARIANT:
            touched[OF_THE_VARIANT[name]] = None
        Variant.__setattr__(self, name, value)


def seen(row: TaskRow) -> tuple[TaskRow, Variant]:
    """Return the same row and variant, which note what is read and written."""
    copy = SeenRow(*(getattr(row, name) for name in TaskRow.__struct_fields__))
    it = row.variants["default"]
    copy.variants["default"] = SeenVariant(*(getattr(it, name) for name in Variant.__struct_fields__))
    return copy, copy.variants["default"]


def can_be(event: type, states: dict[str, str]) -> bool:
    """Return whether a task can be in these states when ``event`` happens; a state that is left out does not matter."""
    if any(states.get(machine, needed[0]) not in needed for machine, needed in NEEDS.get(event, {}).items()):
        return False
    if states.get("activation", "active") == "active":
        return True
    # Without an active variant, a rollout has nothing to replace, and no change is judged.
    return states.get("rollout", "none") == "none" and states.get("benefit", "settled") == "settled"


def completed(event: type, states: dict[str, str]) -> dict[str, str]:
    """Return the states with one for every machine, such that a task can be in them."""
    usual = {name: every[0] for name, (_, every) in MACHINES.items()} | {"activation": "active"}
    return usual | {machine: needed[0] for machine, needed in NEEDS.get(event, {}).items()} | states


def check(event: type, mode: str, before: dict[str, str]) -> set[str]:
    """Fail unless ``event`` does what the table says; return the machines that it has read or written."""
    row, it = a_task(before)
    assert states_of(row, it) == before
    row, it = seen(row)
    touched.clear()
    apply(turn_of(row, ENFORCE if mode == "enforce" else SHADOW), [EVENTS[event](it, row.variants["other"])])
    found = set(touched)
    wanted = expected(before, event, mode)
    if event in LEAVES_OTHERS and before["activation"] == "none":
        # Latch and verification belong to the active variant.
        wanted |= {name: before[name] for name in ("latch", "verification")}
    if event is c.Activated and before["activation"] == "none":
        wanted["benefit"] = "settled"  # the first variant replaces none
    assert states_of(row, it) == wanted, before
    return found


LEAVES_OTHERS = (c.Recovered, c.LevelAccepted, c.CommonCauseEnded)


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_in_every_state_a_change_does_what_the_table_says_and_no_more(event: type, mode: str) -> None:
    """Every combination of states is covered, though not each is built.

    What a change does can depend only on the machines that it reads or writes.  So a combination of those stands for
    all that differ in other machines: these keep their state, as the table must say.  The test begins with the machines
    that the table names for the change, and adds each one that is touched.
    """
    named = {row.machine for row in TRANSITIONS if row.event is event} | {"activation"}
    todo = [
        dict(zip(sorted(named), one, strict=True)) for one in product(*(MACHINES[name][1] for name in sorted(named)))
    ]
    stands_for = 0
    while todo:
        states = todo.pop()
        if not can_be(event, states):
            continue
        before = completed(event, states)
        new = sorted(check(event, mode, before) - states.keys())
        if new:
            todo += [states | {new[0]: state} for state in MACHINES[new[0]][1]]
        else:
            stands_for += combinations(event, states)
    assert stands_for == combinations(event, {})


def combinations(event: type, states: dict[str, str]) -> int:
    """Return how many combinations of all machines have these states and can be when ``event`` happens."""
    left = [name for name in MACHINES if name not in states]
    limited = [name for name in left if name in {"activation", "rollout", "benefit", *NEEDS.get(event, {})}]
    possible = sum(
        can_be(event, states | dict(zip(limited, one, strict=True)))
        for one in product(*(MACHINES[name][1] for name in limited))
    )
    return possible * math.prod(len(MACHINES[name][1]) for name in left if name not in limited)


@pytest.mark.parametrize("event", [c.Held, c.RolloutPaused], ids=lambda event: event.__name__)
def test_combinations_are_counted_right(event: type) -> None:
    whole = [dict(zip(MACHINES, one, strict=True)) for one in product(*(every for _, every in MACHINES.values()))]
    assert combinations(event, {}) == sum(can_be(event, one) for one in whole) > 1_000


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_a_change_does_the_same_in_states_that_it_neither_reads_nor_writes(event: type) -> None:
    """A read that the rows above do not notice, such as one in C, would show itself here."""
    chance = random.Random(event.__name__)
    tried = 0
    while tried < 100:
        before = {name: chance.choice(every) for name, (_, every) in MACHINES.items()}
        if can_be(event, before):
            check(event, chance.choice(["enforce", "shadow"]), before)
            tried += 1


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.machine}: {row.source} {row.event.__name__}")
def test_every_row_of_the_table_names_states_and_changes_that_there_are(row: lifecycle.Transition) -> None:
    assert {row.source, row.target} <= set(MACHINES[row.machine][1])
    assert row.event in get_args(c.Change)


def test_every_change_is_tried_told_and_made() -> None:
    assert set(EVENTS) == set(get_args(c.Change)) == set(lifecycle._EFFECTS)


def test_telling_a_change_changes_nothing() -> None:
    for event, make in EVENTS.items():
        row, it = a_task(
            {name: states[-1] for name, (_, states) in MACHINES.items()}
            | {machine: states[0] for machine, states in NEEDS.get(event, {}).items()}
        )
        before = encode_row(row)
        tell, _ = lifecycle._EFFECTS[event]
        tell(turn_of(row, ENFORCE), make(it, row.variants["other"]))
        assert encode_row(row) == before, event


@pytest.mark.parametrize(
    "name", ["protection", "guardrails", "decision_matrix", "rollout", "targets", "facts", "grounds"]
)
def test_what_decides_and_what_tells_assigns_to_nothing_but_its_own_names(name: str) -> None:
    """Only ``lifecycle`` writes state, so these modules assign to no attributes."""
    tree = ast.parse((CORE / f"{name}.py").read_text(encoding="utf-8"))
    written = [
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for target in (target.elts if isinstance(target, ast.Tuple) else [target])
        if not isinstance(target, ast.Name) and ast.unparse(target).partition(".")[0] != "self"
    ]
    assert written == []


def test_state_of_task_and_variant_is_written_in_one_file() -> None:
    """Each field of the state has one writer among the modules of the engine."""
    fields = {"active", "epoch", "latch", "held_n", "no_target_n", "quarantined", "degraded", "degraded_since", "clean"}
    fields |= {"alerted", "alert_id", "degraded_at", "baseline", "pinned", "held", "rollbacks", "decided", "previous"}
    fields |= {"rollout", "paused", "stalled", "stage_since", "stage_n"}
    fields |= {"one_runtime"}
    fields |= {"incident"}
    writers: dict[str, set[str]] = {}
    for path in CORE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in fields:
                writers.setdefault(path.stem, set()).add(ast.unparse(node))
    writers.pop("runtimes", None)  # writes the epoch that a runtime has adopted
    assert set(writers) == {"lifecycle"}, writers


def test_the_page_of_transitions_is_drawn_from_the_tables() -> None:
    page = page_of(contract_root())
    assert page is not None
    assert page.read_text(encoding="utf-8") == lifecycle_page(), "run make contract"


def test_all_changes_of_a_step_are_told_before_the_first_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for event in (c.BecameDegraded, c.AlertOpened):
        name = event.__name__
        effect = (
            lambda *_, name=name: order.append(f"tell {name}") or [],
            lambda *_, name=name: order.append(f"make {name}"),
        )
        monkeypatch.setitem(lifecycle._EFFECTS, event, effect)
    row, it = a_task({name: states[0] for name, (_, states) in MACHINES.items()})
    apply(turn_of(row, ENFORCE), [EVENTS[event](it, it) for event in (c.BecameDegraded, c.AlertOpened)])
    assert order == ["tell BecameDegraded", "tell AlertOpened", "make BecameDegraded", "make AlertOpened"]


@pytest.mark.parametrize("event", [c.BecameDegraded, c.StayedDegraded, c.GivenUp, c.Activated])
def test_healthy_verdicts_are_counted_from_the_latest_degradation_on(event: type) -> None:
    row, it = a_task({name: states[-1] for name, (_, states) in MACHINES.items()})
    it.clean, it.degraded_at = 19, -1
    apply(turn_of(row, ENFORCE), [EVENTS[event](it, row.variants["other"])])
    assert it.clean == 0
    assert it.degraded_at == (it.life.n if event in {c.BecameDegraded, c.StayedDegraded} else -1)


FORGETS = {c.Held: {"held_n"}, c.HoldEnded: {"held_n"}, c.FleetHoldNoticed: {"held_n"}, c.Pinned: set()}
FORGETS |= {c.CommonCauseFound: {"no_target_n"}, c.CommonCauseEnded: {"held_n", "no_target_n", "latch"}}
FORGETS |= {c.Activated: {"held_n", "no_target_n", "latch"}, c.Recovered: {"held_n", "no_target_n", "latch"}}


@pytest.mark.parametrize("event", FORGETS, ids=lambda event: event.__name__)
def test_what_was_said_of_a_rollback_that_waits_is_forgotten_with_its_reason(event: type) -> None:
    row, it = a_task({name: states[-1] for name, (_, states) in MACHINES.items()})
    row.held_n, row.no_target_n, row.latch = 5, 6, True
    apply(turn_of(row, ENFORCE), [EVENTS[event](it, row.variants["other"])])
    left = {name for name, old in (("held_n", 5), ("no_target_n", 6), ("latch", True)) if getattr(row, name) == old}
    assert left == {"held_n", "no_target_n", "latch"} - FORGETS[event]
    assert all(getattr(row, name) in {-1, False} for name in FORGETS[event])


@pytest.mark.parametrize("event", [c.Activated, c.Recovered, c.LevelAccepted, c.OneRuntimeEnded, c.RolledBack])
def test_what_was_said_of_one_runtime_is_forgotten_with_its_reason(event: type) -> None:
    row, it = a_task({name: states[-1] for name, (_, states) in MACHINES.items()})
    row.one_runtime = ALONE
    turn = turn_of(row, ENFORCE)
    apply(turn, [EVENTS[event](it, row.variants["other"])])
    assert row.one_runtime is None
    assert [fact.resolved for fact in turn.facts if isinstance(fact, Alert) and fact.kind == "one_runtime"] == [True]


def test_a_variant_with_outcomes_enough_is_judged_against_its_own_when_it_is_activated_again() -> None:
    row, it = a_task({name: states[0] for name, (_, states) in MACHINES.items()} | {"activation": "active"})
    other = row.variants["other"]
    it.baseline = Frozen("other", other.life)
    apply(turn_of(row, ENFORCE), [c.Activated(other, "command", "cmd-1", "ordered")])
    apply(turn_of(row, ENFORCE), [c.Activated(it, "command", "cmd-2", "ordered")])
    assert it.life.n >= turn_of(row, ENFORCE).rules.own_baseline
    assert it.baseline is None
