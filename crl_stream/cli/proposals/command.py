"""The group ``crl proposals`` and its reading commands: list, show, digest."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.consequences import newest_snapshot
from crl_stream.cli.proposals.exporting import export
from crl_stream.cli.proposals.reviewing import approve, defer, reject
from crl_stream.cli.proposals.source import catalogue_of, find, read_all, read_benefits, wanted_statuses
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.messages import ActiveVariant, Benefit, Overview, Proposal, TaskSnapshot, VariantCatalogue
from crl_stream.core.reach import past_words, touches_words
from crl_stream.errors import CrlError, UsageError
from crl_stream.kafka.commands import active_variant
from crl_stream.kafka.overview_page import read_overview
from crl_stream.kafka.session import KafkaSession
from crl_stream.proposals.digest import digest, digest_text
from crl_stream.proposals.page import effect, page
from crl_stream.proposals.standing import TYPES, age_of, select, status_at
from crl_stream.settings.model import Kafka

app = typer.Typer(help="Review proposed changes: list, show, approve, reject, defer, export.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_proposals(
    context: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Statuses to show: open, all, or one status; may be repeated. Default: open."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Show only proposals for this agent.")] = None,
    proposal_type: Annotated[str | None, typer.Option("--type", help="Show only proposals of this type.")] = None,
    json: Json = False,
) -> None:
    """List proposals, most confident first.

    Reads the topic and needs no worker.
    """
    statuses = wanted_statuses(status, "open")
    kind = None if proposal_type is None else proposal_type.removeprefix("crl_")
    if kind is not None and kind not in TYPES:
        raise UsageError(f"There is no type {proposal_type}.", hint=f"one of {', '.join(TYPES)}")
    now = now_ms()
    found = select(asyncio.run(read_all(context.obj.kafka)), now, statuses, agent, kind)
    if json:
        show_json({"proposals": [document(proposal, now) for proposal in found]})
        return
    rows = [
        (
            proposal.proposal_id,
            f"{proposal.agent_name}/{proposal.task_type}",
            proposal.proposal_type,
            proposal.target_variant,
            "proposer" if proposal.filing is None else proposal.filing.source,
            f"{proposal.confidence:.0%}",
            status_at(proposal, now),
            age_of(from_text(proposal.timestamp), now),
            touches_words(proposal.touches),
            past_words(proposal.last_time),
            proposal.expires_at,
        )
        for proposal in found
    ]
    columns = (
        "id",
        "task",
        "type",
        "target",
        "source",
        "confidence",
        "status",
        "age",
        "touches",
        "last time",
        "expires",
    )
    show_table(columns, rows, empty="No proposal is waiting." if status is None else "No proposal matches.")


@app.command("show")
def show_proposal(
    context: typer.Context,
    proposal_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the proposal, as listed by crl proposals list.")
    ],
    json: Json = False,
) -> None:
    """Show one proposal: evidence, modifications, the exact change, history, and what approving it would do."""
    (proposal, active, variants, snapshot), now = asyncio.run(_look(context.obj.kafka, proposal_id)), now_ms()
    if json:
        approving = effect(proposal, status_at(proposal, now), active, now, snapshot)
        show_json(document(proposal, now) | {"approving": approving})
    else:
        show(page(proposal, now, active, variants, snapshot))


async def _look(
    kafka: Kafka, proposal_id: str
) -> tuple[Proposal, ActiveVariant | None, VariantCatalogue | None, TaskSnapshot | None]:
    """Return a proposal, and its task's active variant, catalogue of variants and newest snapshot.

    The proposal is shown even if these cannot be read.
    """
    async with KafkaSession(kafka) as session:
        proposal = await find(session, proposal_id)
        key, active, variants = TaskKey(proposal.agent_name, proposal.task_type), None, None
        with suppress(CrlError):
            active = await active_variant(session, key)
        if proposal.change.configuration is not None:
            with suppress(CrlError):
                variants = await catalogue_of(session, key)
        return proposal, active, variants, await newest_snapshot(session, key)


@app.command("digest")
def show_digest(context: typer.Context, json: Json = False) -> None:
    """Show the weekly review: what is new, what waits for a person, and the five most confident proposals."""
    proposals, benefits, overview = asyncio.run(_read(context.obj.kafka))
    review = digest(proposals, now_ms(), benefits, overview)
    if json:
        show_json(review)
    else:
        show(digest_text(review))


async def _read(kafka: Kafka) -> tuple[list[Proposal], list[Benefit], Overview | None]:
    """Return all proposals, the judgements of changes, and the page that names the rollbacks that wait."""
    async with KafkaSession(kafka) as session:
        return await read_all(session), await read_benefits(session), await read_overview(session)


for function in (approve, reject, defer, export):
    app.command()(function)


def document(proposal: Proposal, now: int) -> dict[str, Any]:
    """Return the message from the topic with its current status."""
    fields: dict[str, Any] = msgspec.to_builtins(proposal)
    return fields | {"status": status_at(proposal, now)}
