"""``crl topology``: what each stage reads, keeps and writes."""

from __future__ import annotations

from typing import Annotated

import typer

from crl_stream.cli.talk import show, show_json
from crl_stream.errors import UsageError
from crl_stream.stages.topology_drawing import topology_json, topology_mermaid, topology_text


def topology(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
) -> None:
    """Show the pipeline: which stage reads which topics, what it keeps and where it writes.  Needs no Kafka."""
    if json and mermaid:
        raise UsageError("--json and --mermaid cannot be combined.", hint="leave one of them out")
    if json:
        show_json(topology_json())
    else:
        show(topology_mermaid() if mermaid else topology_text())
