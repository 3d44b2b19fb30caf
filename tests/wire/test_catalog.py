"""The catalog names the topics of the code, and a mistake in it is an error with a hint."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from crl_stream.contract import contract_root, load_catalog
from crl_stream.errors import ContractError
from crl_stream.wire.catalog import MIN_SEGMENT, parse_catalog
from crl_stream.wire.topics import (
    BRIDGE_INBOX,
    COMMANDS,
    DEAD_LETTERS,
    INVOCATIONS,
    MESSAGES,
    MIRRORS,
    OVERVIEW,
    OVERVIEW_EVENTS,
    TAG_CONDITIONS,
    TOPIC_OF,
    Topics,
)

TOPIC = {
    "name": '"crl.invocations"',
    "what": '"The log."',
    "writers": '["runtime"]',
    "readers": '["monitor"]',
    "key": '"agent_name/task_type"',
    "guarantee": '"Applied once."',
    "partitions": '"log"',
    "cleanup": '"delete"',
    "retention": '"7 days"',
    "timestamp": '"append"',
    "max_message": '"1 MiB"',
}
CHANGELOG = TOPIC | {"name": '"{app_id}-tasks-changelog"'}


def page(section: str = "[[topic]]", **changes: str | None) -> str:
    fields = {name: text for name, text in (TOPIC | changes).items() if text is not None}
    return f"{section}\n" + "".join(f"{name} = {text}\n" for name, text in fields.items())


def whole(**changes: str | None) -> str:
    return page(**changes) + page("[[changelog]]", name=CHANGELOG["name"])


def test_the_topics_of_the_code_are_the_topics_of_the_catalog() -> None:
    assert [spec.name for spec in load_catalog().topics] == list(MESSAGES)


def test_every_message_travels_on_one_topic() -> None:
    assert sum(map(len, MESSAGES.values())) == len(TOPIC_OF)


def test_inputs_are_stamped_by_the_broker() -> None:
    """Time in the fold is append time, so no runtime's clock affects decisions."""
    stamps = {spec.name: spec.timestamp_type for spec in load_catalog().topics}
    assert [stamps[name] for name in (INVOCATIONS, COMMANDS)] == ["LogAppendTime"] * 2


def test_a_dead_letter_always_fits_into_its_topic() -> None:
    sizes = {spec.name: spec.max_message_bytes for spec in load_catalog().topics}
    assert sizes[DEAD_LETTERS] > max(sizes[INVOCATIONS], sizes[COMMANDS])


def test_what_is_true_now_is_never_deleted_by_age() -> None:
    catalog = load_catalog()
    for spec in (*catalog.topics, *catalog.changelogs):
        if spec.cleanup == "compact":
            assert spec.compacted
            assert spec.configs()["retention.ms"] == "-1"
            assert spec.segment_bytes is not None and spec.segment_bytes >= MIN_SEGMENT


def test_every_topic_but_those_about_all_tasks_has_a_partition_for_each_of_the_log() -> None:
    counts = {spec.name: spec.partition_count(12) for spec in load_catalog().topics}
    single = {OVERVIEW, OVERVIEW_EVENTS, TAG_CONDITIONS, BRIDGE_INBOX, MIRRORS}
    assert {name for name, count in counts.items() if count != 12} == single
    assert {counts[name] for name in single} == {1}


def test_no_topic_depends_on_the_clock_of_whoever_writes_it() -> None:
    """If writers set the times, Kafka rejects records of fast clocks, and compaction can lose rows of slow ones."""
    catalog = load_catalog()
    assert {spec.timestamp_type for spec in (*catalog.topics, *catalog.changelogs)} == {"LogAppendTime"}


def test_three_replicas_ask_for_two_that_have_the_record() -> None:
    spec = load_catalog()[INVOCATIONS]
    assert spec.configs(1)["min.insync.replicas"] == "1"
    assert spec.configs(3)["min.insync.replicas"] == "2"
    assert spec.configs(3)["unclean.leader.election.enable"] == "false"


def test_the_settings_of_a_topic_are_spelled_as_the_broker_prints_them() -> None:
    assert load_catalog()["crl.active-variants"].configs() == {
        "cleanup.policy": "compact",
        "max.message.bytes": "1048576",
        "message.timestamp.type": "LogAppendTime",
        "min.cleanable.dirty.ratio": "0.2",
        "min.compaction.lag.ms": "300000",
        "min.insync.replicas": "1",
        "retention.ms": "-1",
        "segment.bytes": "16777216",
        "unclean.leader.election.enable": "false",
    }


def test_a_topic_of_nobody_is_not_found() -> None:
    with pytest.raises(KeyError):
        load_catalog()["crl.nobody"]


def test_a_prefix_stands_before_topics_groups_and_changelogs() -> None:
    assert Topics("staging.")(INVOCATIONS) == "staging.crl.invocations"
    assert Topics("staging.").changelog("crl") == "staging.crl-tasks-changelog"
    assert (Topics("s.").group("crl"), Topics("s.").group("crl", "files")) == ("s.crl", "s.crl-files")
    assert [spec.name.format(app_id="crl") for spec in load_catalog().changelogs] == [
        Topics().changelog("crl", table) for table in ("tasks", "proposals", "overview", "tags")
    ]


def test_a_small_catalog_is_read() -> None:
    catalog = parse_catalog(whole(segment='"1 MiB"', dirty_ratio="0.5", partitions="3"))
    assert (catalog.topics[0].segment_bytes, catalog.topics[0].dirty_ratio) == (MIN_SEGMENT, 0.5)
    assert catalog.topics[0].partition_count(12) == 3


WRONG = {
    "not TOML": "name =",
    "nothing": "",
    "no changelog": page(),
    "no topic": page("[[changelog]]"),
    "a topic twice": page() + whole(),
    "an unknown section": whole() + "[topics]\n",
    "a missing setting": whole(guarantee=None),
    "an unknown setting": whole(retenton='"7 days"'),
    "a name that Kafka refuses": whole(name='"crl/invocations"'),
    "a name that is too long": whole(name='"' + "x" * 201 + '"'),
    "a name that is a number": whole(name="1"),
    "no name": whole(name=None),
    "an empty sentence": whole(what='" "'),
    "a sentence that is a list": whole(key='["a"]'),
    "writers that are not a list": whole(writers='"runtime"'),
    "no writers": whole(writers="[]"),
    "readers that are numbers": whole(readers="[1]"),
    "an unknown cleanup": whole(cleanup='"erase"'),
    "an unknown timestamp": whole(timestamp='"LogAppendTime"'),
    "no partitions": whole(partitions="0"),
    "partitions that are true": whole(partitions="true"),
    "partitions in words": whole(partitions='"many"'),
    "deletion without an age": whole(retention=None),
    "an age without deletion": whole(cleanup='"compact"'),
    "an age without a unit": whole(retention='"7"'),
    "an age in an unknown unit": whole(retention='"7 weeks"'),
    "an age that is a number": whole(retention="7"),
    "an age of zero": whole(retention='"0 days"'),
    "a size in a unit of time": whole(max_message='"1 days"'),
    "a ratio above one": whole(dirty_ratio="1.5"),
    "a ratio that is a whole number": whole(dirty_ratio="1"),
    "a segment that Kafka refuses": whole(segment='"512 KiB"'),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_mistake_in_the_catalog_is_an_error_that_says_where_and_what_to_do(text: str) -> None:
    with pytest.raises(ContractError) as error:
        parse_catalog(text)
    assert error.value.message.startswith("The topic catalog is not usable: ")
    assert error.value.message.endswith(".")
    assert error.value.hint
    assert error.value.exit_code == 78


def test_the_catalog_is_written_in_words_that_the_page_explains() -> None:
    text = (contract_root() / "catalog.toml").read_text(encoding="utf-8")
    roles = {role for topic in tomllib.loads(text)["topic"] for role in (*topic["writers"], *topic["readers"])}
    readme = (Path(contract_root()) / "README.md").read_text(encoding="utf-8")
    assert [role for role in sorted(roles) if f"**{role}**" not in readme] == []


def test_the_readme_promises_of_each_topic_what_the_catalog_promises() -> None:
    text = (contract_root() / "README.md").read_text(encoding="utf-8")
    lines = {
        line.partition("**")[2].partition("**")[0]: line for line in text.splitlines() if line.startswith("- **crl.")
    }
    said = {spec.name: lines[spec.name].endswith(f". {spec.guarantee}") for spec in load_catalog().topics}
    assert {name for name, right in said.items() if not right} == set()


def test_the_table_of_the_readme_lists_the_messages_of_each_topic() -> None:
    text = (contract_root() / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `crl.")]
    listed = {topic.strip(" `"): set(re.findall(r"`(\w+)`", messages)) for topic, messages in rows}
    assert listed == {topic: {kind.__name__ for kind in kinds} for topic, kinds in MESSAGES.items()}
