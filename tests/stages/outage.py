"""The story of an outage: several tasks on one provider, and one variant of another provider that collapses meanwhile.

The story reacts to what the engine decides: each outcome belongs to the variant that is active at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from builders import an_invocation

from crl_stream.core import messages as m

SHARED = ("summaries", "translations", "reviews")
"""Tasks whose variants all use provider ``one``."""
APART = "extractions"
"""A task whose variants use provider ``two``; its active variant collapses during the outage."""
MIXED = "questions"
"""A task that has a worse variant of provider ``two`` besides those of provider ``one``."""
TASKS = (*SHARED, APART, MIXED)
VARIANTS = {
    **{task: {"best": "one", "good": "one"} for task in SHARED},
    APART: {"best": "two", "good": "two"},
    MIXED: {"best": "one", "good": "one", "elsewhere": "two"},
}
"""The provider of each variant of each task."""
PAST = {"best": "S" * 60, "good": "SSSSSSSSSF" * 4, "elsewhere": "SSSSF" * 6}
AGENT = "writer"
Active = Callable[[str], tuple[str, int]]
"""Returns the active variant and the epoch of a task."""


def youth() -> Iterator[m.Invocation]:
    """Yield the outcomes of the tasks before the outage."""
    for task in TASKS:
        for name, provider in VARIANTS[task].items():
            for number, letter in enumerate(PAST[name]):
                source = "live" if name == "best" else "explore"
                yield _outcome(task, name, letter, f"{name}-{number}", provider, variant_source=source)


def round_of(number: int, active: Active, *, outage: bool) -> Iterator[m.Invocation]:
    """Yield the next outcome of each task; in an ``outage``, provider ``one`` and ``best`` of ``APART`` fail."""
    for task in TASKS:
        name, epoch = active(task)
        provider = VARIANTS[task][name]
        fails = outage and (provider == "one" or (task == APART and name == "best"))
        yield _outcome(task, name, "F" if fails else "S", f"live-{number}", provider, active_epoch=epoch)


def _outcome(task: str, name: str, letter: str, number: str, provider: str, **fields: object) -> m.Invocation:
    return an_invocation(
        name,
        "success" if letter == "S" else "failure",
        invocation_id=f"{task}-{number}",
        agent_name=AGENT,
        task_type=task,
        provider=provider,
        **fields,
    )
