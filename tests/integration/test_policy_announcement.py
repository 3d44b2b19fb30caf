"""The policy of a worker's settings comes into force, or is overtaken by another one: both make it ready."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from builders import a_policy
from installation import Installation, WorkerProcess

from crl_stream.core.policy import GUIDE, Limits, Policy, PolicySet
from crl_stream.settings import load_settings

pytestmark = pytest.mark.integration


async def under_policy(worker: WorkerProcess, digest: str, partitions: int = 4) -> None:
    """Wait until every partition of the worker has the policy; ``/readyz`` is not asked meanwhile."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, page = await worker.get("/api/worker")
            except aiohttp.ClientError:
                page = {"partitions": []}
            if [p["policy_hash"] for p in page["partitions"]] == [digest] * partitions:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("profile", ["guide", "production"])
async def test_a_worker_whose_policy_was_overtaken_before_anybody_looked_is_ready(
    installation: Installation, profile: str
) -> None:
    """The guide's policy is in force from the start; the other one has to be announced."""
    worker = installation.start_worker(profile=profile)
    own = load_settings(environment={"CRL_PROFILE": profile}).policies
    assert (own == GUIDE) is (profile == "guide")
    await under_policy(worker, own.digest())
    other = PolicySet(default=Policy(limits=Limits(variants=5)))
    await installation.order(a_policy(other))
    await under_policy(worker, other.digest())
    await worker.ready()
    assert (await worker.get("/readyz"))[1]["policy_pending"] == [0, 1, 2, 3]
