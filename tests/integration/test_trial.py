"""``crl replay`` on real topics: the policy that produced a log makes no difference, and nothing is ever written."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from builders import AGENT, TASK, a_command, invocations
from installation import Installation
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS

pytestmark = pytest.mark.integration

PRODUCTION = {"profile": "production"}


def story() -> list[m.Invocation]:
    """Return outcomes of a variant that fails half the time in the end, and of another task where nothing happens."""
    parts = [
        *invocations("default", "S" * 40),
        *invocations("v2", "SSSSSSSSSF" * 4, variant_source="explore"),
        *invocations("default", "SSSSSSSSSF" * 2, task_type="other"),
        *invocations("default", "FS" * 30),
    ]
    # The outcomes' own times are those of the topic, so that no clock seems wrong.
    now = to_text(time.time_ns() // 1_000_000)
    return [replace(one, timestamp=now) for one in parts]


async def everything(installation: Installation) -> dict[str, int]:
    """Return the end of every partition of every topic of the installation, changelogs and all."""
    consumer = AIOKafkaConsumer(bootstrap_servers=installation.kafka.bootstrap_servers)
    await consumer.start()
    try:
        names = [name for name in await consumer.topics() if name.startswith(installation.kafka.topic_prefix)]
        places = [TopicPartition(name, p) for name in names for p in consumer.partitions_for_topic(name) or ()]
        ends = await consumer.end_offsets(places)
        return {f"{place.topic}:{place.partition}": end for place, end in sorted(ends.items())}
    finally:
        await consumer.stop()


async def recorded(installation: Installation, **settings: str) -> list[m.Invocation]:
    """Run a worker through the story, with commands in between, then stop it; return the outcomes."""
    worker = await installation.worker(**settings)
    told = story()
    await installation.publish(*told[:60])
    await installation.order(a_command(m.PinVariant, variant_id="default", reason="a look"))
    await installation.publish(*told[60:])
    await installation.settled()
    await installation.silent()
    assert await worker.stop() == 0
    return told


@pytest.mark.parametrize("settings", [{}, PRODUCTION], ids=["guide", "production"])
async def test_the_policy_that_produced_a_log_makes_no_difference_and_what_was_recorded_is_repeated(
    installation: Installation, settings: dict[str, str]
) -> None:
    await recorded(installation, **settings)
    before = await everything(installation)
    code, out, err = await installation.run_crl("replay", "--json", **settings)
    found = json.loads(out)
    assert (code, found["same"], found["tasks"]) == (0, True, []), err
    assert found["recorded"]["same"] is True
    assert found["recorded"]["compared"] == found["unchanged"] > 0
    code, out, _ = await installation.run_crl("replay", "--policy", settings.get("profile", "guide"))
    assert code == 0
    assert "The replay repeats what was recorded: " in out
    assert "No decision differs" in out
    assert await everything(installation) == before


async def test_topics_and_a_file_of_the_same_outcomes_give_the_same_report(installation: Installation) -> None:
    worker = await installation.worker()
    told = story()
    await installation.publish(*told)
    await installation.settled()
    await installation.silent()
    assert await worker.stop() == 0
    file = installation.folder / "outcomes.jsonl"
    file.write_bytes(b"\n".join(map(encode, told)))
    before = await everything(installation)
    page = installation.folder / "page.html"
    calls = [
        await installation.run_crl("replay", *where, "--policy", "production", "--against", "guide", *output)
        for where in ([str(file)], [])
        for output in (["--json"], ["--html", str(page)])
    ]
    assert {code for code, _, _ in calls} == {3}
    by_file, by_topics = (json.loads(out) for _, out, _ in calls[::2])
    assert by_topics["counts"]["rollback"] == {"added": 0, "removed": 0, "earlier": 0, "later": 1}
    assert without_places(by_topics) == without_places(by_file)
    assert by_topics["input"]["name"] == installation.names(INVOCATIONS)
    assert sum(one["end"] - one["first"] for one in by_topics["input"]["partitions"]) == by_topics["input"]["records"]
    content = page.read_bytes()
    await installation.run_crl(
        "replay", "--policy", "production", "--against", "guide", "--html", str(page), degradation_lookback_window="30"
    )
    assert page.read_bytes() == content, "the page depends on something besides the log and the two policies"
    assert by_topics["input"]["sha256"].encode() in content
    assert await everything(installation) == before


def without_places(report: dict[str, Any]) -> dict[str, Any]:
    """Leave out values that a file does not contain: offsets, append times, and the ids derived from them."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if k not in {"partition", "offset", "timestamp", "id"}}
        return [bare(one) for one in value] if isinstance(value, list) else value

    return {name: bare(value) for name, value in report.items() if name != "input"}


async def test_a_policy_that_was_applied_in_between_counts_from_its_position_on(installation: Installation) -> None:
    worker = await installation.worker()
    told = story()
    await installation.publish(*told[:80])
    await installation.settled()
    code, _, err = await installation.run_crl("policy", "apply", "--yes", **PRODUCTION)
    assert code == 0, err
    await installation.publish(*told[80:])
    await installation.settled()
    await installation.silent()
    assert await worker.stop() == 0
    code, out, err = await installation.run_crl("replay", "--json", "--policy", "in-force")
    found = json.loads(out)
    assert found["recorded"]["same"] is True, err
    assert found["recorded"]["compared"] > 0
    assert len(found["against"]["policy_hashes"]) == 2
    assert found["against"]["policy_hash"] == found["policy"]["policy_hash"] != found["against"]["policy_hashes"][0]
    assert found["settings"] == []
    assert (code == 0) == found["same"]


async def test_a_log_whose_beginning_is_gone_is_replayed_from_what_is_left_and_says_so(
    installation: Installation,
) -> None:
    await recorded(installation, **PRODUCTION)
    place = next(
        r.record for r in await installation.records(INVOCATIONS) if r.record.key == f"{AGENT}/{TASK}".encode()
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=installation.kafka.bootstrap_servers)
    await admin.start()
    try:
        name = TopicPartition(installation.names(INVOCATIONS), place.partition)
        await admin.delete_records({name: RecordsToDelete(before_offset=place.offset + 30)})
    finally:
        await admin.close()
    code, out, err = await installation.run_crl("replay", "--json", **PRODUCTION)
    found = json.loads(out)
    [cut] = [one for one in found["input"]["partitions"] if one["partition"] == place.partition]
    assert (code, cut["first"], found["input"]["cut"]) == (0, place.offset + 30, True), err
    assert "Older records of the log are gone" in err
    assert found["against"]["policy_hashes"] == found["policy"]["policy_hashes"], "the policy of that time is known"


async def test_a_log_that_no_worker_has_read_has_nothing_recorded_to_repeat(installation: Installation) -> None:
    await installation.publish(*story())
    code, out, err = await installation.run_crl("replay", "--json")
    found = json.loads(out)
    assert code == 0, err
    assert found["recorded"] == {"same": True, "compared": 0, "missing": [], "extra": [], "engine_versions": []}
    code, _, err = await installation.run_crl("replay", "--policy", "in-force")
    assert code == 2
    assert "No policy is in force yet" in err
