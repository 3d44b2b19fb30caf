"""The figures of a run as a table for people."""

from __future__ import annotations

from typing import Any

LOOP = ("world", "policy", "got", "never", "oracle", "lost", "false", "worse", "promoted", "caught", "delay")
ALONE = ("variant", "policy", "alarms per 1,000 days", "caught", "delay")


def table(page: dict[str, Any], *, markdown: bool = False) -> str:
    """Return the summary, then a line per world and policy: those in closed loop, and variants that are alone.

    ``lost``, ``false`` (rollbacks) and ``worse`` (rollbacks to a worse variant) are per 1,000 outcomes; ``delay`` is
    median/p90 in outcomes; a day has 100 outcomes.
    """
    cells, summed = page["cells"], page["summary"]
    loops = [_loop(cell) for cell in cells if cell["kind"] != "alone"]
    alone = [_alone(cell) for cell in cells if cell["kind"] == "alone"]
    names = dict.fromkeys(name for found in summed.values() for name in found)
    goals = [(name, *(f"{found[name]:.3g}" for found in summed.values())) for name in names]
    parts = ((("all worlds", *summed), goals), (LOOP, loops), (ALONE, alone))
    return "\n\n".join(_lines([head, *rows], markdown=markdown) for head, rows in parts if rows)


def _lines(rows: list[tuple[str, ...]], *, markdown: bool) -> str:
    if markdown:
        rows.insert(1, ("---",) * len(rows[0]))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _loop(cell: dict[str, Any]) -> tuple[str, ...]:
    found = cell["figures"]
    return (
        cell["world"],
        cell["policy"],
        *(f"{found[name]:.3f}" for name in ("got", "never", "oracle")),
        f"{found['lost_per_1000']:.1f}",
        f"{found['false_rollbacks_per_1000']:.2f}",
        f"{found['rollbacks_to_worse_per_1000']:.2f}",
        f"{found['promotions']} ({found['promotions_to_worse']} worse)",
        *_caught(found),
    )


def _alone(cell: dict[str, Any]) -> tuple[str, ...]:
    found = cell["figures"]
    alarms = found.get("alarms_per_1000_days")
    return cell["world"], cell["policy"], "" if alarms is None else f"{alarms:.1f}", *_caught(found)


def _caught(found: dict[str, Any]) -> tuple[str, str]:
    """Return the share that was caught, and how late."""
    if found.get("delay_median") is None:
        return f"{found['caught']:.0%}" if "caught" in found else "", ""
    return f"{found['caught']:.0%}", f"{found['delay_median']:.0f}/{found['delay_p90']}"
