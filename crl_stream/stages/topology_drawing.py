"""The topology as text for a terminal, as JSON, and as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any, Final

from crl_stream.stages.topology import PARTIES, STAGES, Goes, Party, Sink, Stage, readers, writers
from crl_stream.wire.topics import DEAD_LETTERS, MESSAGES, PARTITION_ROW

WIDTH: Final = 80
_LABEL: Final = 10
_TOPIC: Final = 21
"""Widths of labels and topic names in columns, including the space that follows them."""
_PEOPLE: Final = ("operator", "subscriber", "dashboard")
"""Parties that the flowchart merges into one."""
_BEYOND_WORKER: Final = "worker"
"""A party that belongs to crl-stream but is not a stage; its plain name would mislead in a picture of stages."""


def topology_text() -> str:
    """Return every stage with what it reads, keeps and writes, then the parties; no line is longer than ``WIDTH``."""
    blocks = [list(_stage_lines(stage)) for stage in STAGES] + [list(_party_lines(party)) for party in PARTIES]
    return "\n\n".join("\n".join(block) for block in blocks)


def topology_json() -> dict[str, Any]:
    """Return the topology for programs; topics have their catalog names, without the installation's prefix."""
    return {
        "stages": [
            {
                "name": stage.name,
                "what": stage.what,
                "role": stage.role,
                "partitions": 1 if stage.only_partition else "log",
                "reads": list(stage.sources),
                "foreign": stage.foreign or None,
                "looks_up": list(stage.looks_up),
                "table": _table(stage),
                "writes": [_sink(sink) for sink in stage.sinks],
                "beyond": stage.beyond or None,
            }
            for stage in STAGES
        ],
        "parties": [
            {
                "name": party.name,
                "what": party.what,
                "reads": list(party.reads),
                "writes": [_sink(sink) for sink in party.sinks],
            }
            for party in PARTIES
        ],
        "topics": [{"topic": topic, "writers": writers(topic), "readers": readers(topic)} for topic in MESSAGES],
    }


def topology_mermaid() -> str:
    """Return a flowchart from left to right: boxes are stages, cylinders their tables, and slanted boxes topics.

    Topics with the same writers and readers share a box.  Dead letters are left out, because nearly every stage writes
    them and their arrows would hide the rest.
    """
    lines = ["flowchart LR"]
    parties = [party.name for party in PARTIES if party.name not in _PEOPLE]
    lines += [f"    {name}([{_party_title(name)}])" for name in parties] + [f"    people([{', '.join(_PEOPLE)}])"]
    lines += [f"    {stage.name}[{stage.name}]" for stage in STAGES]
    lines += [f"    {stage.name}-table[({stage.table.name})]" for stage in STAGES if stage.table is not None]
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for topic in MESSAGES:
        if topic != DEAD_LETTERS:
            groups.setdefault((_writers(topic), _readers(topic)), []).append(topic)
    box: dict[str, str] = {}
    for (writing, reading), topics in groups.items():
        node = topics[0].removeprefix("crl.")
        box |= dict.fromkeys(topics, node)
        lines.append(f'    topic-{node}[/"{"<br/>".join(topics)}"/]')
        lines += [f"    {name} --> topic-{node}" for name in writing]
        lines += [f"    topic-{node} --> {name}" for name in reading]
    for stage in STAGES:
        looked_up = dict.fromkeys(box[topic] for topic in stage.looks_up)
        lines += [f"    topic-{node} -. looked up .-> {stage.name}" for node in looked_up]
        if stage.table is not None:
            lines.append(f"    {stage.name} --- {stage.name}-table")
        if stage.foreign:
            lines.append(f'    {stage.name}-foreign["{stage.foreign}"]')
            lines.append(f"    {stage.name}-foreign --> {stage.name}")
        if stage.beyond:
            lines.append(f'    {stage.name} --> {stage.name}-beyond["{stage.beyond}"]')
    return "\n".join(lines)


def _stage_lines(stage: Stage) -> Iterator[str]:
    yield from _wrapped(f"{stage.name}: {stage.what}", indent=2)
    yield from _list("role", [f"crl worker --role {stage.role}"])
    yield from _list("reads", stage.sources, "partition 0, the only one" if stage.only_partition else "")
    yield from _list("and from", [stage.foreign] if stage.foreign else [])
    yield from _list("looks up", stage.looks_up)
    if stage.table is not None:
        yield from _list("keeps", [f"{{app_id}}-{stage.table.name}-changelog"])
        yield from _wrapped(f"rows of {stage.table.key}; partition row {PARTITION_ROW.decode()}N", indent=_LABEL + 2)
    yield from _sinks(stage.sinks)
    yield from _list("hands on", [stage.beyond] if stage.beyond else [])


def _party_lines(party: Party) -> Iterator[str]:
    yield from _wrapped(f"{party.name} (outside): {party.what}", indent=2)
    yield from _list("reads", party.reads)
    yield from _sinks(party.sinks)


def _sinks(sinks: Iterable[Sink]) -> Iterator[str]:
    label = "writes"
    for sink in sinks:
        start = f"  {label:<{_LABEL}}{sink.topic:<{_TOPIC}}"
        said = _messages(sink) + ("" if sink.goes is Goes.ALONG else f"; to {sink.goes.value}")
        first, *rest = wrap(said, WIDTH - len(start))
        yield start + first
        yield from (" " * len(start) + line for line in rest)
        label = ""


def _messages(sink: Sink) -> str:
    if not sink.carries:
        return "unusable records, with their bytes" if sink.topic == DEAD_LETTERS else "what came over HTTP"
    if len(sink.carries) > 4:
        return f"{len(sink.carries)} kinds of commands"
    return ", ".join(kind.__name__ for kind in sink.carries)


def _list(label: str, names: Iterable[str], note: str = "") -> Iterator[str]:
    for number, name in enumerate(names):
        yield f"  {'' if number else label:<{_LABEL}}" + (f"{name:<{_TOPIC}}{note}" if note else name)


def _wrapped(text: str, indent: int) -> Iterator[str]:
    start = " " * indent if indent > 2 else ""
    yield from wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * indent)


def _table(stage: Stage) -> dict[str, str] | None:
    if stage.table is None:
        return None
    changelog, row = f"{{app_id}}-{stage.table.name}-changelog", f"{PARTITION_ROW.decode()}N"
    return {"name": stage.table.name, "changelog": changelog, "key": stage.table.key, "partition_row": row}


def _sink(sink: Sink) -> dict[str, Any]:
    return {
        "topic": sink.topic,
        "messages": [kind.__name__ for kind in sink.carries],
        "goes": sink.goes.name.lower(),
        "standing": sink.standing,
    }


def _writers(topic: str) -> tuple[str, ...]:
    found = [stage.name for stage in STAGES if topic in stage.writes]
    return _merged([*found, *(p.name for p in PARTIES if any(sink.topic == topic for sink in p.sinks))])


def _readers(topic: str) -> tuple[str, ...]:
    found = [stage.name for stage in STAGES if topic in stage.sources]
    return _merged([*found, *(party.name for party in PARTIES if topic in party.reads)])


def _merged(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys("people" if name in _PEOPLE else name for name in names))


def _party_title(name: str) -> str:
    return "worker that starts" if name == _BEYOND_WORKER else name
