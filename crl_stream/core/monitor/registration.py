"""What a registration states about a variant, and how much of that a task can store.

All variants of a task share one record of ``crl.variants``, whose size the topic limits.
"""

from __future__ import annotations

from typing import Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import Configuration, TaskRow

MAX_CONFIGURATION: Final = 16_384
"""Maximum bytes of one configuration as JSON without white space."""
MAX_CONFIGURATIONS: Final = 600_000
"""Maximum bytes for the configurations of all variants of a task; with 1,000 names, the record reaches 1 MiB."""


def configuration_of(command: m.RegisterVariant | m.Change) -> Configuration:
    """Return the configuration that the command registers."""
    return Configuration(
        command.parent,
        command.model_tier,
        command.provider,
        command.model,
        command.temperature,
        msgspec.json.encode(command.modifications),
        b"" if command.configuration is None else msgspec.json.encode(command.configuration),
        command.ref,
    )


def keep(old: Configuration | None, new: Configuration) -> str | None:
    """Fill in what ``new`` leaves out; return the name of the field that ``new`` would change, else None.

    Runtimes and outcomes name a variant only by its id, so an id must always mean the same configuration.
    """
    if old is None:
        return None
    new.content, new.ref = new.content or old.content, new.ref or old.ref
    if old.content and new.content != old.content:
        return "configuration"
    return "ref" if old.ref and new.ref != old.ref else None


def too_large(row: TaskRow, variant_id: str, configuration: Configuration) -> str | None:
    """Return why the task has no room for ``configuration``, with the limit and what to do; None if there is room."""
    if len(configuration.content) > MAX_CONFIGURATION:
        return (
            f"the configuration of {variant_id} takes {len(configuration.content)} bytes; it may take "
            f"{MAX_CONFIGURATION}; keep long prompts elsewhere, and register a ref or a configuration that names them"
        )
    others = sum(_size(v.configuration) for v in row.variants.values() if v.variant_id != variant_id)
    size = _size(configuration)
    if others + size <= MAX_CONFIGURATIONS:
        return None
    return (
        f"the configuration of {variant_id} takes {size} bytes and those of the task's other variants take {others}; "
        f"together they may take {MAX_CONFIGURATIONS}; keep long prompts elsewhere and register references to them"
    )


def _size(known: Configuration | None) -> int:
    """Return the approximate size of the configuration as JSON, in bytes."""
    if known is None:
        return 0
    described = [known.parent, known.model_tier, known.provider, known.model, known.ref]
    return len(known.modifications) + len(known.content) + len(msgspec.json.encode(described))
