"""Whether a change rests on one runtime alone, and whether the other runtimes contradict it.

A broken host makes a healthy variant look degraded, and a runtime that lies can make any variant look good or bad.  So
a rollback that rests on one runtime is made only if the others do not contradict it, and a promotion only with outcomes
from a second runtime.  The verdict still follows from the window; only the automatic action waits.

Outcomes that name no runtime count as one source, so leaving out the name does not evade the rule.  They contradict
nothing, because it is unknown how many runtimes they come from.  A runtime that has sent nothing for as long as two
long invocations take does not contradict either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from crl_stream.core.figures import counted
from crl_stream.core.monitor.detector import Detector
from crl_stream.core.monitor.row import MICRO, SIZE, OneRuntime, Runtime, Sums, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.sources import judged_sources
from crl_stream.core.monitor.verdict import Verdict, is_suspect, judge

WITNESSES: Final = 2
"""How many other runtimes it takes to contradict one: if only two disagree, either of them may be right."""
ALIKE: Final = 4
"""Other runtimes fail too only if they lose, per outcome, at least 1 / ``ALIKE`` of what the one runtime loses."""
FEWEST: Final = 3
"""The rest of the window counts from this many outcomes on; below ``min_recent``, it must lose twice as much."""
UNNAMED: Final = "have no known runtime_id"


def one_runtime(row: TaskRow, variant: Variant, verdict: Verdict, rules: Rules) -> OneRuntime | None:
    """Return the runtime that a rollback of the active ``variant`` would rest on; None if the rollback may be made.

    The loss is how far outcomes of the window are below the baseline's mean.  The rollback must not be made if three
    things hold: one runtime accounts for more than ``rollback.runtime_share`` of the loss; at least two others have
    together sent ``min_recent`` judged outcomes lately; and neither they nor the rest of the window fails as well.
    """
    worst, limit = verdict.worst, rules.runtime_share
    if limit >= MICRO or worst is None or len(row.runtimes) < WITNESSES:
        return None
    if all(worst is not detector for detector, *_ in rules.comparable):
        return None
    parts, losses = defaultdict[int, Sums](Sums), defaultdict[int, int](int)
    for mark, one in judged_sources(variant):
        _add(parts[mark], one)
        losses[mark] += max(0, _loss(one, verdict, worst))
    judged, lost = variant.judged, sum(losses.values())
    mark = max(losses, key=lambda mark: (losses[mark], mark))
    if losses[mark] * MICRO <= limit * lost:
        return None
    part = parts[mark]
    others = [runtime for runtime in _at_work(row, rules) if runtime.mark != mark]
    reported = _total(Sums(each.n, each.successes, each.errors, each.reward) for each in others)
    if len(others) < WITNESSES or reported.n < rules.min_recent or _fails_too(reported, part, verdict, rules):
        return None
    rest = _total(sums for other, sums in parts.items() if other != mark)
    alike = ALIKE if rest.n >= rules.min_recent else ALIKE // 2
    if rest.n >= FEWEST and _fails_too(rest, part, verdict, rules, alike):
        return None
    runtime_id, share = _name_of(row, mark), min(MICRO, losses[mark] * MICRO // lost)
    words = (
        f"{_blame(worst.name, part, judged, share, runtime_id)}; "
        f"the other {counted(len(others), 'runtime')}: {_figures(worst, reported)}"
    )
    return OneRuntime(runtime_id, row.n, worst.name, share, part.n, judged.n, len(others), reported.n, words)


def contradicted(row: TaskRow, rules: Rules) -> OneRuntime | None:
    """Return the only runtime that makes the active variant look degraded, even if the evidence is not enough yet."""
    active = row.variants.get(row.active) if row.active is not None else None
    if active is None or not is_suspect(active, rules):
        return None
    return one_runtime(row, active, judge(active, rules), rules)


def sole_source(row: TaskRow, variant: Variant, rules: Rules) -> str | None:
    """Return why a candidate is not promoted: its whole window comes from one source, and another runtime is active.

    None if several runtimes have tried it, if no other runtime uses the active variant, or if
    ``rollback.runtime_share`` sets no limit.
    """
    sources = variant.sources
    size = len(variant.window) // SIZE
    if rules.runtime_share >= MICRO or len(sources) < size or not sources or sources.count(sources[0]) < size:
        return None
    mark = sources[0]
    if all(runtime.mark == mark for runtime in _at_work(row, rules)):
        return None
    runtime_id = _name_of(row, mark)
    whose = UNNAMED if runtime_id is None else f"come from runtime {runtime_id}"
    return f"all {counted(size, 'outcome')} of its window {whose}; another runtime must try it too"


def _at_work(row: TaskRow, rules: Rules) -> Iterable[Runtime]:
    """Return the runtimes that have reported outcomes of the active variant in this epoch and are still active."""
    since = row.time - rules.silence
    return [runtime for runtime in row.runtimes.values() if runtime.n and runtime.seen >= since]


def _name_of(row: TaskRow, mark: int) -> str | None:
    """Return the runtime with this mark; None if no known runtime or several have it."""
    names = [name for name, runtime in row.runtimes.items() if runtime.mark == mark]
    return names[0] if mark and len(names) == 1 else None


def _total(parts: Iterable[Sums]) -> Sums:
    total = Sums()
    for part in parts:
        _add(total, part)
    return total


def _add(total: Sums, part: Sums) -> None:
    total.n += part.n
    total.successes += part.successes
    total.errors += part.errors
    total.reward += part.reward


def _loss(sums: Sums, verdict: Verdict, worst: Detector) -> int:
    """Return what these outcomes lost compared with the baseline, in a unit that depends on the baseline alone."""
    return sums.n - sums.successes if verdict.absolute else worst.worsening(verdict.baseline, sums)[0]


def _fails_too(sums: Sums, part: Sums, verdict: Verdict, rules: Rules, alike: int = ALIKE) -> bool:
    """Return whether these outcomes show the same failure as ``part``, those of the runtime that stands out.

    They do if the rule, without its evidence, finds them degraded, and if they lose per outcome at least 1 / ``alike``
    of what ``part`` loses.  Without this second condition, chance would soon make a few outcomes look degraded, and
    ``rollback.runtime_share`` would no longer protect the variant.
    """
    baseline, worst = verdict.baseline, verdict.worst
    assert worst is not None
    if _loss(sums, verdict, worst) * part.n * alike < _loss(part, verdict, worst) * sums.n:
        return False
    if not sums.successes:
        return True
    if baseline.n < rules.min_baseline:
        return False
    return any(detector.exceeds(baseline, sums, limit, floor) for detector, limit, floor in rules.comparable)


def _blame(metric: str, part: Sums, judged: Sums, share: int, runtime_id: str | None) -> str:
    """Return how much of the window's loss one source causes: ``18 of 20 failed outcomes come from runtime host-7``."""
    whose = UNNAMED if runtime_id is None else f"come from runtime {runtime_id}"
    if metric == "success_rate":
        return f"{part.n - part.successes} of {judged.n - judged.successes} failed outcomes {whose}"
    if metric == "error_rate":
        return f"{part.errors} of {counted(judged.errors, 'outcome')} with errors {whose}"
    return f"{part.n} of {counted(judged.n, 'outcome')}, with {share / MICRO:.0%} of the loss in {metric}, {whose}"


def _figures(worst: Detector, sums: Sums) -> str:
    """Return what the others report: ``1 of 48 failed``."""
    if worst.name == "success_rate":
        return f"{sums.n - sums.successes} of {sums.n} failed"
    if worst.name == "error_rate":
        return f"{sums.errors} of {sums.n} had errors"
    return f"{worst.name} {worst.figure(sums):.2f} over {counted(sums.n, 'outcome')}"
