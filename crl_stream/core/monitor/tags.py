"""What a variant shares with others: the provider and the model that its outcomes name."""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.row import Incident, Tags, TaskRow, Variant

LONGEST: Final = 128
"""Maximum length of a provider's or model's name; longer names are not used as tags, so that rows stay small."""


def note_tags(variant: Variant, provider: str | None, model: str | None) -> bool:
    """Remember the provider and model of an outcome; return whether either has changed.

    A name that is absent, empty or too long changes nothing.
    """
    tags = variant.tags
    known, known_model = (None, None) if tags is None else (tags.provider, tags.model)
    if not provider or len(provider) > LONGEST:
        provider = known
    if not model or len(model) > LONGEST:
        model = known_model
    if provider == known and model == known_model:
        return False
    variant.tags = Tags(provider, model)
    return True


def tags_of(variant: Variant) -> tuple[str, ...]:
    """Return what a variant may share with others, the wider tag first: ``provider:openai``, ``model:gpt-4o``.

    Provider and model are those of its latest outcome that names one, else those that an operator registered.
    """
    tags, known = variant.tags, variant.configuration
    if tags is None and known is None:
        return ()
    provider, model = (None, None) if tags is None else (tags.provider, tags.model)
    if known is not None:
        provider, model = provider or known.provider, model or known.model
    found = (f"provider:{provider}",) if provider else ()
    return (*found, f"model:{model}") if model else found


def covers(incident: Incident | None, variant: Variant) -> bool:
    """Return whether the incident is about a tag of this variant."""
    return incident is not None and incident.tag in tags_of(variant)


def covered(row: TaskRow, tag: str) -> list[Variant]:
    """Return the variants with this tag, by name."""
    return [row.variants[name] for name in sorted(row.variants) if tag in tags_of(row.variants[name])]
