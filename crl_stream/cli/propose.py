"""``crl propose``: file a candidate, from a person or a program, as a proposal that a person reviews."""

from __future__ import annotations

from typing import Annotated

import typer

from crl_stream.cli.orders import (
    Actor,
    Json,
    Model,
    ModelTier,
    Parent,
    Provider,
    Ref,
    Task,
    Temperature,
    Timeout,
    give_order,
    object_of,
)
from crl_stream.cli.session import task_key
from crl_stream.core import messages as m
from crl_stream.proposals.candidate import configuration_of, evidence_of


def propose(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="Name of the new variant.")],
    configuration: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="What runtimes would get for it: a JSON object, at most 16 KiB; @- reads stdin."
        ),
    ] = None,
    ref: Ref = None,
    parent: Parent = None,
    evidence: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="What was measured: n, metric, score_before, score_after, dataset, url."
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="What made it, as name@version, such as gepa@0.1.4.")] = "a person",
    provider: Provider = None,
    model: Model = None,
    model_tier: ModelTier = None,
    temperature: Temperature = None,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Your reason; it is shown to the reviewer.")] = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """File a candidate with its evidence as a proposal; nothing changes until a person approves it.

    The result names the proposal. crl proposals show compares its configuration with that of its parent.
    """
    example = '{"n": 120, "score_after": 0.78}'
    claim = None if evidence is None else evidence_of(object_of(evidence, "evidence", example))
    give_order(
        context,
        m.ProposeVariant,
        task_key(task),
        None,
        reason,
        actor,
        timeout,
        json,
        variant_id=variant,
        source=source,
        parent=parent,
        provider=provider,
        model=model,
        model_tier=model_tier,
        temperature=temperature,
        configuration=None if configuration is None else configuration_of(object_of(configuration)),
        ref=ref,
        evidence=claim,
    )
