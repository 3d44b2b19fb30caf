"""The guide's loop: a better variant is applied, collapses, is rolled back, and a person undoes the rollback."""

from __future__ import annotations

from typing import Final

from crl_stream.cli.demo.fleet import Fleet
from crl_stream.cli.demo.telling import StepMissing, Story, Witness, tell_switches
from crl_stream.cli.orders import order
from crl_stream.cli.session import Session
from crl_stream.core import messages as m

BASELINE: Final = "api-baseline"
OPTIMIZED: Final = "api-optimized"
QUALITIES: Final = {BASELINE: 0.7, OPTIMIZED: 0.95}
"""Quality of each variant's answers. A healthy variant never fails: a chance run of failures would spoil the story."""


async def tell_collapse(session: Session, story: Story, fleet: Fleet, witness: Witness) -> None:
    """Tell the story of the collapse; raises ``StepMissing`` when a step does not happen."""
    key = fleet.key
    first = await witness.expect("a first variant", m.ActiveVariant)
    story.tell("first_seen", f"{len(fleet.names)} runtimes are using {first.variant_id} for {key}, epoch {first.epoch}")
    result = await order(
        session.kafka,
        m.RegisterVariant,
        key,
        epoch=None,
        reason="a better prompt",
        actor="demo",
        variant_id=OPTIMIZED,
        parent=BASELINE,
        temperature=0.2,
    )
    story.tell("register", f"An operator registers {OPTIMIZED}; the runtimes explore it: {result.detail}")
    applied = await witness.expect("an auto-apply", m.Activation, lambda a: a.cause == "auto_apply")
    why = await witness.expect("its decision", m.Decision, lambda d: d.decision == "auto_apply")
    story.tell(
        "auto_apply",
        f"Auto-apply: {applied.from_variant} -> {applied.to_variant}, epoch {applied.epoch}. {why.reasoning}",
    )
    await fleet.wait_for(lambda: fleet.invocations(OPTIMIZED, applied.epoch) >= 25)
    count = fleet.invocations(OPTIMIZED, applied.epoch)
    story.tell("healthy", f"{count} healthy invocations with {OPTIMIZED} since then", invocations=count)

    await fleet.tell(f"break {OPTIMIZED}")
    story.tell("collapse", f"{OPTIMIZED} collapses: its provider has changed the underlying model")
    alert = await witness.expect(
        "a degradation alert", m.DegradationAlert, lambda d: d.variant_id == OPTIMIZED and d.active
    )
    event = await witness.expect("a rollback", m.RollbackEvent)
    story.tell("alert", f"Alert: {alert.reason}")
    revealed = alert.position == event.position and event.judged.offsets[-1] == event.position.offset
    failures = fleet.failures(OPTIMIZED)
    if not revealed:
        raise StepMissing("The rollback did not come from the outcome that revealed the degradation.")
    story.tell(
        "rollback",
        f"Rolled back on this outcome ({event.position.partition}:{event.position.offset}): {event.from_variant} -> "
        f"{event.to_variant}, epoch {event.epoch}, after {failures} failures",
        rollback_id=event.rollback_id,
        position=event.position,
        failures=failures,
    )
    active = await witness.expect("the active variant", m.ActiveVariant, lambda a: a.epoch == event.epoch)
    await tell_switches(story, fleet, active, "rollback_followed")

    await fleet.tell(f"repair {OPTIMIZED}")
    result = await order(
        session.kafka, m.UndoRollback, key, epoch=event.epoch, reason="the provider repaired it", actor="demo"
    )
    story.tell("undo", f"The provider has fixed the model; an operator undoes the rollback: {result.detail}")
    active = await witness.expect("the undo", m.ActiveVariant, lambda a: a.epoch == event.epoch + 1)
    await tell_switches(story, fleet, active, "undo_followed")
