"""The topology matches the stages' behaviour, the catalog, and the diagram in the README."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_command, a_policy, invocations
from source_tree import ROOT, modules

from crl_stream.contract import load_catalog
from crl_stream.contract.readme_picture import BEGIN, END, readme_of, with_picture
from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.errors import ContractError
from crl_stream.notifiers.channels.log import LogOptions
from crl_stream.notifiers.selection import topics_of
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.roles import ROLES
from crl_stream.stages.tags import fold_tags
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.stages.topology import (
    FILES,
    FIRST,
    INLET,
    MONITOR,
    NOTIFIER,
    OVERVIEW_PAGE,
    PARTIES,
    PROPOSER,
    STAGES,
    TAGS,
    TALLY,
    Goes,
    Stage,
    is_standing,
    outputs_of,
    readers,
    sources_of,
    writers,
)
from crl_stream.stages.topology_drawing import WIDTH, topology_json, topology_mermaid, topology_text
from crl_stream.telemetry.files import FILE_OF
from crl_stream.wire import topics
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import MESSAGES

CATALOG = load_catalog()
TABLES = [stage for stage in STAGES if stage.table is not None]
NAMES = {name for name, value in vars(topics).items() if isinstance(value, str) and value in MESSAGES}


def named(items: Iterable[Any]) -> list[str]:
    return [item.name for item in items]


# -- the catalog -----------------------------------------------------------------------------------
@pytest.mark.parametrize("spec", CATALOG.topics, ids=named(CATALOG.topics))
def test_the_catalog_names_the_writers_and_readers_that_there_are(spec: Any) -> None:
    assert set(writers(spec.name)) == set(spec.writers) != set()
    assert set(readers(spec.name)) == set(spec.readers) != set()


def test_no_topic_is_wired_that_the_catalog_does_not_have() -> None:
    wired = {topic for stage in STAGES for topic in (*stage.sources, *stage.looks_up, *stage.writes)}
    wired |= {topic for party in PARTIES for topic in (*party.reads, *(sink.topic for sink in party.sinks))}
    assert wired == {spec.name for spec in CATALOG.topics}


def test_every_table_has_its_changelog_in_the_catalog_and_no_one_else_writes_it() -> None:
    expected = [f"{{app_id}}-{stage.table.name}-changelog" for stage in TABLES if stage.table is not None]
    assert [spec.name for spec in CATALOG.changelogs] == expected
    assert [spec.writers for spec in CATALOG.changelogs] == [(stage.name,) for stage in TABLES]
    assert [spec.readers for spec in CATALOG.changelogs] == [(stage.name,) for stage in TABLES]


@pytest.mark.parametrize("stage", STAGES, ids=named(STAGES))
def test_topics_that_one_partition_number_joins_have_as_many_partitions(stage: Stage) -> None:
    log = 12
    width = stage.partitions(log)
    along = [sink.topic for sink in stage.sinks if sink.goes is Goes.ALONG and not stage.only_partition]
    joined = [CATALOG[topic].partition_count(log) for topic in (*stage.sources, *along)]
    joined += [
        spec.partition_count(log)
        for spec in CATALOG.changelogs
        if stage.table is not None and spec.name == f"{{app_id}}-{stage.table.name}-changelog"
    ]
    assert set(joined) == {width}


def test_the_last_record_of_a_key_is_kept_where_somebody_owns_it() -> None:
    assert {spec.name for spec in CATALOG.topics if spec.compacted} == {t for t in MESSAGES if is_standing(t)}
    assert all(len(writers(topic)) == 1 for topic in MESSAGES if is_standing(topic))


def test_every_message_of_a_topic_is_written_by_somebody_and_nothing_else_is() -> None:
    for topic, kinds in MESSAGES.items():
        sinks = [sink for place in (*STAGES, *PARTIES) for sink in place.sinks if sink.topic == topic]
        assert {kind for sink in sinks for kind in sink.carries} == set(kinds)


# -- the behaviour of the stages -------------------------------------------------------------------
def a_busy_driver() -> TopologyDriver:
    """Return a driver that has produced nearly every output of every stage."""
    driver = TopologyDriver(partitions=3, remedies=load_remedies(), tick=1_000)
    in_shadow = Policy(operations=Operations(mode="shadow"))
    driver.pipe(a_policy(PolicySet(default=Policy(), tasks={f"{AGENT}/shadowed": in_shadow})))
    driver.pipe_each(a_collapse())
    driver.pipe_each(invocations("steady", "S" * 30, task_type="shadowed", variant_source="explore"))
    driver.pipe_each(invocations("default", "S" * 30 + "F" * 60, task_type="shadowed"))
    driver.pipe_each(invocations("api-optimized", "F" * 55, active_epoch=1, runtime_id="runtime-1"))
    driver.pipe_each(invocations("default", "S" * 5, active_epoch=9, runtime_id="runtime-1"))
    driver.pipe(a_command(m.HoldAll), a_command(m.ResumeAll), a_command(m.PinVariant, variant_id="nobody"))
    driver.pipe(a_command(m.RegisterVariant, variant_id="v9"), a_command(m.StartRollout, variant_id="v9"))
    [outcome] = list(invocations("default", "S"))
    home = partition_of(f"{AGENT}/{TASK}".encode(), 3)
    driver.append(MONITOR.source, encode(outcome), f"{AGENT}/{TASK}".encode(), partition=(home + 1) % 3)
    driver.append(INLET.source, b"nonsense", b"a/b")
    driver.append(PROPOSER.source, b"nonsense", b"a/b")
    driver.pipe(b"nonsense")
    for task in ("one", "two", "three"):
        driver.pipe(*invocations("default", "S" * 30 + "F" * 10, task_type=task, provider="one"))
    driver.fall_silent()
    return driver


def outputs(stage: Stage, driver: TopologyDriver) -> list[tuple[int, Output]]:
    """Return a stage's outputs for everything on the driver's topics, each with its source partition."""
    from stages.oracle import refold
    from stages.proposal_oracle import refold_proposals

    if stage is INLET:
        logs = enumerate(driver.topics[INLET.source])
        return [(p, output) for p, log in logs for output in reference_commands(p, driver.partitions, log)]
    if stage is MONITOR:
        return [(output.partition, output) for output in refold(driver)[1]]
    if stage is PROPOSER:
        return [(output.partition, output) for output in refold_proposals(driver)[1]]
    notes = [
        (partition, output)
        for topic in TALLY.sources
        for partition, log in enumerate(driver.topics[topic])
        for output in note_records(topic, partition, log, SentNotes())
    ]
    if stage is TALLY:
        return notes
    if stage is TAGS:
        driver.append(TAGS.source, b"nonsense", b"a/b", partition=FIRST)
        said = driver.topics[TAGS.source][FIRST]
        return [(FIRST, output) for output in fold_tags(driver.partitions, None, {}, said).outputs]
    clock = driver.clock
    for number, (_, output) in enumerate(notes):
        if output.topic == OVERVIEW_PAGE.source:
            driver.append(output.topic, output.value, output.key, partition=FIRST, timestamp=clock + number)
    driver.append(OVERVIEW_PAGE.source, b"nonsense", b"a/b", partition=FIRST)
    return [(FIRST, output) for output in fold_notes(None, {}, driver.topics[OVERVIEW_PAGE.source][FIRST]).outputs]


def kind_of(output: Output) -> type | None:
    """Return the type of the message; None for a dead letter."""
    if not MESSAGES[output.topic]:
        return None
    decoded = decode(output.topic, output.value, output.key)
    assert not isinstance(decoded, Rejected)
    return type(decoded.message)


SELDOM = {
    *((MONITOR.name, kind) for kind in (m.Adoption, m.Feedback, m.Tick)),
    *((stage.name, m.Alert) for stage in (PROPOSER, OVERVIEW_PAGE)),
}
"""Outputs that ``a_busy_driver`` lacks: ticks come from the worker; the others need a bug or rare records."""


@pytest.mark.parametrize("stage", STAGES[:6], ids=named(STAGES[:6]))
def test_a_stage_writes_all_that_the_topology_says_where_it_says_and_nothing_else(stage: Stage) -> None:
    driver = a_busy_driver()
    declared = {
        (sink.topic, kind): sink.goes
        for sink in stage.sinks
        for kind in (sink.carries or (None,))  # a dead letter is not a message
    }
    seen = set()
    for source, output in outputs(stage, driver):
        what = output.topic, kind_of(output)
        seen.add(what)
        goes = declared[what]
        if goes is Goes.FIRST:
            assert output.partition == FIRST
        elif goes is Goes.ALONG:
            assert output.partition == source
        elif not (output.key or b"").startswith(b"!"):
            assert output.partition == partition_of(output.key or b"", driver.partitions)
    assert {(topic, kind) for topic, kind in declared if (stage.name, kind) not in SELDOM} <= seen


def test_what_leaves_kafka_is_what_its_reader_takes() -> None:
    assert tuple(FILE_OF) == FILES.sources
    assert set(topics_of(LogOptions(content="facts"))) == set(NOTIFIER.sources)
    assert set(topics_of(LogOptions())) < set(NOTIFIER.sources)


def test_the_fold_of_the_log_comes_to_all_that_is_not_read_again() -> None:
    assert set(outputs_of(MONITOR, INLET)) == set(MONITOR.writes) - {MONITOR.source}
    assert sources_of("monitor") == (INLET.source, MONITOR.source)


WIRED_ELSEWHERE = {("crl_stream.stages.driver", "DEAD_LETTERS"), ("crl_stream.stages.topology_drawing", "DEAD_LETTERS")}
"""Modules that handle dead letters separately, because dead letters are not messages."""


def test_no_stage_and_no_worker_names_a_topic_beside_the_topology() -> None:
    found = {
        (module.name, name)
        for module in modules()
        if module.part in {"stages", "worker"} and module.name != "crl_stream.stages.topology"
        for name in NAMES
        if f"crl_stream.wire.topics.{name}" in module.imports
    }
    assert found == WIRED_ELSEWHERE


# -- pictures --------------------------------------------------------------------------------------
def test_the_text_fits_a_terminal_and_names_every_stage_topic_and_table() -> None:
    text = topology_text()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert [name for name in MESSAGES if name not in text] == []
    for stage in STAGES:
        assert re.search(rf"^{stage.name}: ", text, re.MULTILINE)
    for stage in TABLES:
        assert stage.table is not None and f"{{app_id}}-{stage.table.name}-changelog" in text


def test_the_json_says_what_the_values_say() -> None:
    page = topology_json()
    assert [(s["name"], tuple(s["reads"]), s["partitions"] == 1) for s in page["stages"]] == [
        (stage.name, stage.sources, stage.only_partition) for stage in STAGES
    ]
    assert {entry["topic"] for entry in page["topics"]} == set(MESSAGES)
    for stage, entry in zip(STAGES, page["stages"], strict=True):
        assert tuple(dict.fromkeys(sink["topic"] for sink in entry["writes"])) == stage.writes


def test_every_arrow_of_the_flowchart_joins_two_boxes_and_every_box_has_an_arrow() -> None:
    lines = [line.strip() for line in topology_mermaid().splitlines()]
    assert lines[0] == "flowchart LR"
    arrows = [re.split(r" (?:-->|---|-\. looked up \.->) ", line) for line in lines[1:]]
    boxes = {re.match(r"[\w-]+", parts[-1])[0] for parts in arrows if re.search(r"[\[(]", parts[-1])}  # type: ignore[index]
    ends = {re.match(r"[\w-]+", end)[0] for parts in arrows if len(parts) == 2 for end in parts}  # type: ignore[index]
    assert boxes == ends
    shown = {topic for topic in MESSAGES if re.search(rf"[/\">]{re.escape(topic)}[/\"<]", topology_mermaid())}
    assert shown == set(MESSAGES) - {topics.DEAD_LETTERS}


def test_the_readme_shows_the_topology_as_it_is() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_picture(page) == page, "run make contract"
    assert readme_of(ROOT / "topics") == ROOT / "README.md"


def test_a_picture_is_put_between_the_markers_and_nothing_else_changes() -> None:
    old = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = with_picture(old)
    assert new.startswith(f"before\n{BEGIN}\n```mermaid\n")
    assert new.endswith(f"```\n{END}\nafter\n")
    assert with_picture(new) == new
    with pytest.raises(ContractError):
        with_picture("no markers")


def test_every_role_has_a_stage_and_every_stage_a_role() -> None:
    assert {stage.role for stage in STAGES} == set(ROLES)
