"""Replay of dead letters on a real Kafka: once its cause is fixed, each is sent and applied once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, a_policy, an_invocation
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.policy import PolicySet
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import ORIGIN_OFFSET, read_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, DECISIONS, INVOCATIONS

pytestmark = pytest.mark.integration

KEY = f"{AGENT}/{TASK}".encode()


async def the_letters(installation: Installation, *options: str) -> list[dict[str, Any]]:
    code, out, err = await installation.run_crl("dead-letters", "list", "--json", *options)
    assert code == 0, err
    return list(json.loads(out)["dead_letters"])


async def replayed(installation: Installation, *options: str, code: int = 0) -> list[dict[str, Any]]:
    """Run ``replay``, wait until everything is folded, and return its report on each letter."""
    ended, out, err = await installation.run_crl("dead-letters", "replay", *options, "--actor", "ada", "--json")
    assert ended == code, err
    await installation.settled()
    return list(json.loads(out)["letters"])


async def test_a_letter_is_replayed_when_its_cause_is_mended_and_once_more_it_is_a_duplicate(
    installation: Installation,
) -> None:
    partitions = installation.kafka.partitions
    home = partition_of(KEY, partitions)
    worker = await installation.worker(limits_variants="2")
    await installation.wait_for(DECISIONS, m.CommandResult)
    await installation.settled()
    await installation.publish(an_invocation("v1"), an_invocation("v2"))
    # Neither the active variant nor its predecessor is dropped to make room for a third.
    await installation.order(a_command(m.ActivateVariant, variant_id="v2"))
    await installation.settled()
    # This outcome is forwarded first, so its dead letter carries an origin. If a replay carried it too, the fold would
    # treat the replay as a repetition.
    await installation.send(encode(an_invocation("v3")), KEY, partition=(home + 1) % partitions)
    await installation.settled()
    [letter] = await installation.records(DEAD_LETTERS)
    assert read_letter(letter.record.headers).reason == reasons.VARIANT_LIMIT
    assert ORIGIN_OFFSET in dict(letter.record.headers)
    first = read_letter(letter.record.headers)

    # A dry run changes nothing. A record replayed before its cause is fixed becomes a new dead letter.
    ends = await installation.ends(INVOCATIONS)
    [said] = await replayed(installation, "--reason", "variant_limit", "--dry-run")
    assert (said["outcome"], said["to_partition"], said["to_offset"]) == ("would be sent", home, None)
    assert await installation.ends(INVOCATIONS) == ends
    [said] = await replayed(installation, "--reason", "variant_limit")
    assert (said["offset"], said["outcome"], said["to_partition"]) == (first.offset, "sent", home)
    newer, older = await the_letters(installation)
    assert (newer["offset"], newer["replayed"]) == (said["to_offset"], None)
    assert newer["value_hex"] == older["value_hex"]
    assert (older["offset"], older["replayed"]["actor"]) == (first.offset, "ada")
    assert [one["offset"] for one in await the_letters(installation, "--open")] == [newer["offset"]]

    # When the cause is fixed, the remaining letters are sent, and they count.
    await installation.order(a_policy(PolicySet()))
    await installation.settled()
    [said] = await replayed(installation, "--since", "1h")
    assert (said["offset"], said["outcome"]) == (newer["offset"], "sent")
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert (page["n_outcomes"], page["n_duplicates"]) == (3, 0)

    # No letter is left to select. Naming one is refused; with --force, the engine recognises it as a duplicate.
    assert await replayed(installation, "--reason", "variant_limit") == []
    place = f"{newer['partition']}:{newer['offset']}"
    [said] = await replayed(installation, place, code=1)
    assert (said["outcome"], "it was replayed" in said["detail"]) == ("refused", True)
    [said] = await replayed(installation, place, "--force")
    assert said["outcome"] == "sent"
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert (page["n_outcomes"], page["n_duplicates"]) == (3, 1)
    await assert_topics_equal_the_fold(installation)


async def test_what_cannot_help_stays_and_an_outcome_with_a_wrong_key_goes_under_its_own(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    forged = m.CommandRef(
        schema_version=1, command_id="f", partition=0, offset=99, sha256="0" * 64, agent_name=AGENT, task_type=TASK
    )
    await installation.publish(an_invocation())
    await installation.send(b"not json", KEY)
    await installation.send(encode(forged), KEY)
    for number in range(3):
        await installation.send(encode(an_invocation(invocation_id=f"astray-{number}")), None, partition=number)
    await installation.send(encode(a_command(m.HoldTask)), b"a/b", COMMANDS)
    await installation.settled()
    ends = await installation.ends(INVOCATIONS)

    # More than one record needs confirmation, and no terminal is attached to ask for it.
    code, out, err = await installation.run_crl("dead-letters", "replay", "--since", "1h", "--mend-key")
    assert (code, out) == (2, "")
    assert "3 records would be sent" in err
    assert "--yes" in err
    assert await installation.ends(INVOCATIONS) == ends

    said = await replayed(installation, "--since", "1h", "--mend-key", "--yes", code=1)
    outcomes = {(one["topic"], one["reason"]): one["outcome"] for one in said}
    assert outcomes == {
        (INVOCATIONS, reasons.NOT_JSON): "refused",
        (INVOCATIONS, reasons.COMMAND_MISSING): "refused",
        (INVOCATIONS, reasons.NULL_KEY): "sent",
        (COMMANDS, reasons.KEY_MISMATCH): "refused",
    }
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert page["n_outcomes"] == 4

    # With --force the bytes are sent unchanged and become dead letters again; the reference is never sent.
    ends = await installation.ends(COMMANDS)
    said = await replayed(installation, "--topic", "invocations", "--force", "--yes", code=1)
    assert sorted((one["reason"], one["outcome"]) for one in said) == [
        (reasons.COMMAND_MISSING, "refused"),
        (reasons.NOT_JSON, "sent"),
        *[(reasons.NULL_KEY, "sent")] * 3,
    ]
    assert await installation.ends(COMMANDS) == ends
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert (page["n_outcomes"], page["held"]) == (4, None)
    await assert_topics_equal_the_fold(installation)
