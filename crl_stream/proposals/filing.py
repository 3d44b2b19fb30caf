"""Files a candidate as a proposal: ``propose``, for optimisers and other scripts.

    from crl_stream.proposals import propose

    proposal_id = propose(
        "support/refund",
        "refund-gepa-7",
        source="gepa@0.1.4",
        parent="refund-v1",
        configuration={"prompt": best},
        evidence={"n": 120, "metric": "accuracy", "score_before": 0.61, "score_after": 0.78},
    )

The candidate waits in the same queue as the proposer's own proposals.  Nothing changes until a person approves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Modification, ProposeVariant
from crl_stream.errors import Unavailable, UsageError
from crl_stream.kafka.commands import active_variant, give, task_command
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.proposals.candidate import configuration_of, evidence_of, modifications_of
from crl_stream.settings import load_client_settings
from crl_stream.settings.model import Kafka
from crl_stream.wire.topics import COMMANDS


def propose(
    task: str,
    variant_id: str,
    *,
    source: str,
    parent: str | None = None,
    configuration: Mapping[str, Any] | None = None,
    ref: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    reason: str = "",
    modifications: Sequence[Mapping[str, Any] | Modification] = (),
    model_tier: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    temperature: float | None = None,
    actor: str | None = None,
    bootstrap_servers: str | None = None,
    timeout: float = 20.0,
) -> str:
    """File a candidate and return the id of the proposal, once the monitor has accepted it.

    It may be called with or without a running event loop, and it blocks for up to about ``timeout`` seconds.

    Args:
        task: The task, as ``agent_name/task_type``.
        variant_id: Id of the new variant.
        source: What made the candidate, as ``name@version``.
        parent: The variant that it was made from.
        configuration: What runtimes would get for it; at most 16 KiB as JSON.
        ref: Where the configuration is kept, such as ``langfuse:refund@12``.
        evidence: What the source measured: ``n``, ``metric``, ``score_before``, ``score_after``, ``dataset``, ``url``.
        reason: Shown to the reviewer.
        modifications: Changes to the parent, as in the guide's proposal schema.
        model_tier: Class of the model, as the runtimes call it.
        provider: Provider of the model.
        model: The model.
        temperature: Sampling temperature, 0 to 2.
        actor: Who files the proposal. Default: the login.
        bootstrap_servers: Kafka's address. Default: that of the settings (``CRL_BOOTSTRAP_SERVERS``), else that of
            ``crl up``.
        timeout: Seconds to wait for the monitor.

    Raises:
        CommandRefused: The monitor does not accept the candidate; the message says why.
        UsageError: The candidate is not valid.
        NotFound: The task is not known.
        Unavailable: Kafka or a worker does not respond. If you call again and the candidate was filed after all, the
            refusal names its proposal.
        ConfigError: The settings are not valid.

    """
    fields = {
        "variant_id": variant_id,
        "source": source,
        "parent": parent,
        "configuration": configuration_of(configuration),
        "ref": ref,
        "evidence": evidence_of(evidence),
        "reason": reason,
        "modifications": modifications_of(modifications),
        "model_tier": model_tier,
        "provider": provider,
        "model": model,
        "temperature": temperature,
        "actor": actor,
    }
    key, kafka = _key_of(task), _kafka(bootstrap_servers)
    # In a thread of its own, because a notebook or an asynchronous optimiser already runs an event loop in this one.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="crl-propose") as thread:
        return thread.submit(lambda: asyncio.run(_file(kafka, key, timeout, fields))).result()


def _key_of(task: str) -> TaskKey:
    try:
        return TaskKey.parse(task)
    except ValueError as error:
        raise UsageError(f"{error}.", hint="name the task as agent_name/task_type") from None


async def _file(kafka: Kafka, key: TaskKey, timeout: float, fields: dict[str, Any]) -> str:
    # The settings of a script may name only the address, but a task's partition depends on the real number of
    # partitions.
    partitions = await TopicReader(kafka).partitions(COMMANDS)
    async with KafkaSession(kafka.model_copy(update={"partitions": partitions})) as session:
        await active_variant(session, key)  # a command for a mistyped name would create that task permanently
        result = await give(session, task_command(ProposeVariant, key, **fields), timeout)
    if result.proposal_id is None:
        raise Unavailable(
            "The worker that answered is of an older release and cannot file proposals.", hint="update the workers"
        )
    return result.proposal_id


def _kafka(bootstrap_servers: str | None) -> Kafka:
    """Return the given address, else that of the settings, else that of the embedded broker."""
    # Imported only here, because commands that review proposals need neither.
    from aiokafka.errors import KafkaConnectionError

    from crl_stream.client.address import kafka_of

    flags = {} if bootstrap_servers is None else {"kafka.bootstrap_servers": bootstrap_servers}
    settings = load_client_settings(flags=flags, strict=True).settings
    try:
        return kafka_of(settings)
    except KafkaConnectionError:
        raise Unavailable(
            "No Kafka is configured, and the embedded broker is not running.",
            hint="set CRL_BOOTSTRAP_SERVERS, or run `crl up`",
        ) from None
