"""The log determines the fleet's policy: `crl policy apply` changes it, and starting a worker never does."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from builders import a_policy, invocations
from installation import Installation, WorkerProcess

from crl_stream.core import messages as m
from crl_stream.core.policy import GUIDE, Limits, Policy, PolicySet
from crl_stream.settings import load_settings
from crl_stream.settings.profiles import PROFILES
from crl_stream.wire.topics import COMMANDS, DECISIONS, INVOCATIONS

pytestmark = pytest.mark.integration


async def under_policy(worker: WorkerProcess, digest: str, partitions: int = 4) -> None:
    """Wait until every partition of the worker has the policy, without asking ``/readyz``."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, page = await worker.get("/api/worker")
            except aiohttp.ClientError:
                page = {"partitions": []}
            if [p["policy_hash"] for p in page.get("partitions", [])] == [digest] * partitions:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("profile", ["guide", "production"])
async def test_a_worker_whose_policy_was_overtaken_before_anybody_looked_is_ready(
    installation: Installation, profile: str
) -> None:
    """The guide's policy is in force from the start; the production policy must first be announced."""
    worker = installation.start_worker(profile=profile)
    own = load_settings(environment={"CRL_PROFILE": profile}).policies
    assert (own == GUIDE) is (profile == "guide")
    await under_policy(worker, own.digest())
    other = PolicySet(default=Policy(limits=Limits(variants=5)))
    await installation.order(a_policy(other))
    await under_policy(worker, other.digest())
    await worker.ready()
    assert (await worker.get("/readyz"))[1]["policy_pending"] == []
    _, page = await worker.get("/api/worker")
    assert (page["policy"]["in_force"], page["policy"]["set_by"]) == (other.digest(), "ada")
    assert "limits.variants" in [d["setting"] for d in page["policy"]["differences"]]


@pytest.mark.parametrize(("first", "second"), [("guide", "production"), ("production", "guide")])
@pytest.mark.parametrize("outcomes", [0, 5])
async def test_a_restart_with_other_settings_changes_no_policy_and_says_so(
    installation: Installation, first: str, second: str, outcomes: int
) -> None:
    in_force = load_settings(environment={"CRL_PROFILE": first}).policies.digest()
    worker = await installation.worker(profile=first)
    await installation.publish(*invocations("default", "S" * outcomes))
    await under_policy(worker, in_force)
    assert await worker.stop() == 0
    worker = await installation.worker(profile=second)
    await installation.publish(*invocations("default", "S"))
    await installation.settled()
    await under_policy(worker, in_force)
    _, page = await worker.get("/api/worker")
    assert page["policy"]["in_force"] == in_force
    changed = [setting for setting in PROFILES["production"] if setting != "operations.exploration"]
    assert sorted(d["setting"] for d in page["policy"]["differences"]) == sorted(changed)
    words = f"differ from it in {len(changed)} settings"
    said = [line for line in worker.log.read_text().splitlines() if words in line]
    assert len(said) == 1
    assert "`crl policy diff`" in said[0]
    assert len([c for c in await installation.messages(COMMANDS) if isinstance(c, m.SetPolicy)]) == 1


async def test_of_two_workers_that_start_at_once_with_different_settings_one_wins_and_the_other_says_so(
    installation: Installation,
) -> None:
    workers = [installation.start_worker(profile=profile) for profile in ("conservative", "production")]
    for worker in workers:
        await worker.ready()
    pages = [(await worker.get("/api/worker"))[1] for worker in workers]
    hashes = {p["policy_hash"] for page in pages for p in page["partitions"]}
    assert len(hashes) == 1
    assert sorted(bool(page["policy"]["differences"]) for page in pages) == [False, True]
    # If the second worker sent its policy at all, the policy was refused.
    results = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    assert {r.policy_hash for r in results} == hashes


async def test_a_policy_that_is_applied_before_any_worker_has_run_is_that_of_the_first_one(
    installation: Installation,
) -> None:
    code, out, err = await installation.run_crl("policy", "show", "--json")
    assert (code, json.loads(out)["in_force"]) == (0, None)
    assert (await installation.run_crl("policy", "diff"))[0] == 3
    code, out, err = await installation.run_crl("policy", "apply", profile="production")
    assert (code, "--yes" in err) == (2, True), "the policy is not changed without confirmation"
    for applied in (True, False):  # the second call finds nothing to change
        code, out, err = await installation.run_crl("policy", "apply", "--yes", "--json", profile="production")
        assert (code, json.loads(out)["applied"]) == (0, applied), err
    assert len([c for c in await installation.messages(COMMANDS) if isinstance(c, m.SetPolicy)]) == 1
    worker = await installation.worker(profile="conservative")
    await under_policy(worker, load_settings(environment={"CRL_PROFILE": "production"}).policies.digest())


async def test_crl_policy_compares_and_changes_what_a_running_fleet_is_judged_by(installation: Installation) -> None:
    worker = await installation.worker(profile="guide")
    assert (await installation.run_crl("policy", "diff"))[0] == 0
    code, out, _ = await installation.run_crl("policy", "diff", profile="conservative")
    assert code == 3
    assert all(len(line) <= 80 for line in out.splitlines())
    assert {"auto_apply.q_threshold", "auto_apply.min_samples"} <= set(out.split())
    code, out, err = await installation.run_crl(
        "policy", "apply", "--yes", "--actor", "grace", "-m", "calmer", profile="conservative"
    )
    assert code == 0, err
    wanted = load_settings(environment={"CRL_PROFILE": "conservative"}).policies.digest()
    await under_policy(worker, wanted)
    page = json.loads((await installation.run_crl("policy", "show", "--json"))[1])
    assert (page["in_force"], page["set_by"], page["reason"], page["pending"]) == (wanted, "grace", "calmer", [])
    assert (await worker.get("/readyz"))[0] == 200


async def test_partitions_that_have_lost_their_policy_with_their_state_get_the_fleets_back(
    installation: Installation,
) -> None:
    worker = await installation.worker(profile="production")
    await installation.publish(*invocations("default", "S" * 3))
    await installation.settled()
    assert await worker.stop() == 0
    ends = await installation.ends(INVOCATIONS)
    changelog = installation.names.changelog(installation.app_id)
    async with installation.admin._admin() as admin:
        log = installation.names(INVOCATIONS)
        # As if retention had removed the folded records, and the changelog had been deleted.
        await admin.delete_records({TopicPartition(log, p): RecordsToDelete(end) for p, end in ends.items()})
        await admin.delete_topics([changelog])
        while changelog in await admin.list_topics():
            await asyncio.sleep(0.05)
    await installation.admin.apply()
    assert (await installation.run_crl("topics", "adopt", "--yes"))[0] == 0
    worker = await installation.worker(profile="guide")
    await under_policy(worker, load_settings(environment={"CRL_PROFILE": "production"}).policies.digest())
