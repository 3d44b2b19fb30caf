"""``docs/lifecycle.md``: all transitions of a task and its variants, drawn from ``core.monitor.lifecycle``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crl_stream.core.monitor.lifecycle import MACHINES, TRANSITIONS

_HEAD: Final = """\
# The life of a task and its variants

`make contract` generates this page from the tables in `crl_stream/core/monitor/lifecycle.py`. No other
changes of state occur. Each machine answers one question: the first four about a variant, the others about a task.

Other modules decide when a change happens: `protection.py` for rollbacks and recoveries, `decision_matrix.py` for
promotions, `commands.py` for commands (pinning another variant also activates it), and `record.py` for the first
variant of a task.
"""


def lifecycle_page() -> str:
    """Return the page: for each state machine, its question, a picture and a table of its transitions."""
    parts = [_HEAD]
    for machine, (question, states) in MACHINES.items():
        rows = [row for row in TRANSITIONS if row.machine == machine]
        arrows = [f"    {row.source} --> {row.target}: {row.event.__name__}" for row in rows]
        lines = [f"| {row.source} | {row.event.__name__} | {row.when or '-'} | {row.target} |" for row in rows]
        parts.append(
            "\n".join(
                [
                    f"\n## {machine.capitalize()}: {question}\n",
                    "```mermaid",
                    "stateDiagram-v2",
                    f"    [*] --> {states[0]}",
                    *arrows,
                    "```\n",
                    "| from | change | when | to |",
                    "|---|---|---|---|",
                    *lines,
                    "",
                ]
            )
        )
    return "".join(parts)


def page_of(contract: Path) -> Path | None:
    """Return the path of the page beside a contract folder; None in an installed package, which has no docs."""
    docs = contract.parent / "docs"
    return docs / "lifecycle.md" if contract.name == "topics" and docs.is_dir() else None
