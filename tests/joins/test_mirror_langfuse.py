"""A label in Langfuse follows the active variant; the package's real client reads and moves it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, invocations
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.mirroring.label import Seen
from crl_stream.mirrors.langfuse import LangfuseLabels
from crl_stream.mirrors.store import Refused, Silent
from crl_stream.settings.model import Langfuse
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, DECISIONS, MIRRORS, RECEIPTS, VARIANTS
from joins.environments import python_of
from joins.langfuse_fake import PUBLIC, SECRET, LangfuseFake
from joins.proof import prove_that_it_moved
from joins.story import PROGRAMS, RUNTIME, agent, fail_until_rolled_back

PROMPT = "support/refund"
GOOD, BAD = "default", "api-optimized"


@pytest.fixture
async def langfuse() -> AsyncIterator[LangfuseFake]:
    async with LangfuseFake() as fake:
        yield fake


def labels_at(fake: LangfuseFake, **options: Any) -> LangfuseLabels:
    return LangfuseLabels(Langfuse(host=fake.url, public_key=PUBLIC, **{"secret_key": SECRET} | options))


async def three_versions(fake: LangfuseFake, folder: Path) -> list[dict[str, Any]]:
    make = [("create_prompt", {"name": PROMPT, "prompt": f"Version {n}", "type": "text"}) for n in (1, 2, 3)]
    label = ("update_prompt", {"name": PROMPT, "version": 1, "new_labels": ["production"]})
    return await fake.client(folder, *make, label)


def by_label(label: str = "production") -> tuple[str, dict[str, Any]]:
    return "get_prompt", {"name": PROMPT, "label": label, "cache_ttl_seconds": 0}


async def test_the_real_client_and_the_mirror_agree_about_labels(langfuse: LangfuseFake, tmp_path: Path) -> None:
    made = await three_versions(langfuse, tmp_path)
    assert [one["version"] for one in made] == [1, 2, 3, 1]
    labels = labels_at(langfuse)
    try:
        assert await labels.look(PROMPT) == Seen("1")
        await labels.move(PROMPT, "2")
        assert await labels.look(PROMPT) == Seen("2")
        read, parsed, missing = await langfuse.client(
            tmp_path,
            by_label(),
            ("api_get", {"prompt_name": "support%2Frefund", "version": 1}),
            ("api_get", {"prompt_name": "nothing", "label": "production"}),
        )
        assert (read["version"], read["labels"]) == (2, ["production"])
        assert (parsed["type"], parsed["labels"]) == ("Prompt_Text", [])
        assert missing == {"status": 404}
        move = ("update_prompt", {"name": PROMPT, "version": 3, "new_labels": ["production", "by-alice"]})
        await langfuse.client(tmp_path, move)
        assert await labels.look(PROMPT) == Seen("3", ("alice",))
        assert await labels.look("nothing") == Seen(None)
        with pytest.raises(Refused, match="404: Prompt not found"):
            await labels.move(PROMPT, "77")
    finally:
        await labels.close()
    ours = {request for request in langfuse.requests if "resolve=false" in request[1]}
    assert ours == {
        ("GET", "/api/public/v2/prompts/support%2Frefund?label=production&resolve=false"),
        ("GET", "/api/public/v2/prompts/nothing?label=production&resolve=false"),
    }


@pytest.mark.parametrize(("status", "said"), [(500, "answered 500"), (429, "answered 429"), (302, "answered 302")])
async def test_a_store_in_trouble_is_silent_to_the_mirror(langfuse: LangfuseFake, status: int, said: str) -> None:
    langfuse.failing = status
    labels = labels_at(langfuse)
    with pytest.raises(Silent, match=said):
        await labels.look(PROMPT)
    await labels.close()


async def test_wrong_keys_are_reported_without_the_keys(langfuse: LangfuseFake) -> None:
    labels = labels_at(langfuse, secret_key="sk-lf-something-else")
    with pytest.raises(Silent) as error:
        await labels.look(PROMPT)
    await labels.close()
    assert "refuses our credentials (401)" in str(error.value)
    assert "sk-lf" not in str(error.value)


@pytest.mark.integration
async def test_a_rollback_and_a_persons_move_go_through_langfuse(
    installation: Installation, langfuse: LangfuseFake, tmp_path: Path
) -> None:
    await three_versions(langfuse, tmp_path)
    await installation.worker()
    for variant, version in ((GOOD, 1), (BAD, 2)):
        await installation.order(a_command(m.RegisterVariant, variant_id=variant, ref=f"langfuse:{PROMPT}@{version}"))
    await installation.wait_for(VARIANTS, m.VariantCatalogue, lambda found: len(found.variants) == 2)
    await installation.publish(*invocations(GOOD, "S" * 30), *invocations(BAD, "S" * 30, variant_source="explore"))
    await installation.settled()
    options = {"host": langfuse.url, "public_key": PUBLIC, "secret_key": SECRET, "poll_seconds": "0.3"}
    settings = {f"mirrors_langfuse_{name}": value for name, value in options.items()}
    _, out, err = await installation.run_crl("status", "--check", "--json", **settings)
    missing = {found["subject"] for found in json.loads(out)["findings"] if found["name"] == "not_running"}
    assert "mirror" in missing, err
    mirror = installation.start_worker(("-m", "crl_stream", "worker", "--role", "mirror"), **settings)
    await mirror.ready()
    await installation.wait_for(MIRRORS, m.MirrorLabel, lambda record: record.epoch == 1)

    # A person moves the label, and gives a name in the same call.
    move = ("update_prompt", {"name": PROMPT, "version": 2, "new_labels": ["production", "by-alice"]})
    await langfuse.client(tmp_path, move)
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 2 and a.variant_id == BAD)
    result = await installation.wait_for(DECISIONS, m.CommandResult, lambda r: r.command == "ActivateVariant")
    assert (result.actor, result.reason) == (
        "alice (by langfuse)",
        f"the label production was moved to langfuse:{PROMPT}@2",
    )
    await installation.wait_for(RECEIPTS, m.Receipt, lambda r: (r.runtime_id, r.epoch) == ("mirror:langfuse", 2))
    assert langfuse.moves == 2, "the mirror has not moved it"

    # The variant collapses; the agent's next turn uses the other version, and the label goes back.
    words = (python_of("mirrors"), PROGRAMS / "prompt_agent.py", "langfuse", langfuse.url, AGENT, TASK)
    keys = {"LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET, "HOME": str(tmp_path)}
    async with agent(installation, *words, **keys) as told:
        assert await told.do(12, epoch=2) == [[BAD, 2, "Version 2"]] * 12
        event = await fail_until_rolled_back(installation, told, BAD)
        assert await told.do(1, epoch=event.epoch) == [[GOOD, event.epoch, "Version 1"]]
        await prove_that_it_moved(installation, event, RUNTIME)
    proof = await installation.wait_for(
        RECEIPTS, m.Receipt, lambda r: (r.runtime_id, r.epoch) == ("mirror:langfuse", event.epoch)
    )
    assert proof.variant_id == GOOD
    [read] = await langfuse.client(tmp_path, by_label())
    assert read["version"] == 1
    assert langfuse.moves == 3
    assert [a for a in await installation.messages(ALERTS) if a.kind.startswith("mirror")] == []
    code, out, err = await installation.run_crl("audit", f"{AGENT}/{TASK}")
    assert code == 0, err
    assert "alice (by langfuse)" in out
    assert SECRET not in mirror.log.read_text()
