"""The version of a prompt that a variant's ``ref`` names: ``langfuse:refund@12`` or ``prompts:/refund/12``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from crl_stream.core.messages.mirrors import PromptStore


class PromptRef(NamedTuple):
    """One version of a prompt in a store."""

    store: PromptStore
    prompt: str
    version: str


_PATTERNS: Final[tuple[tuple[PromptStore, re.Pattern[str]], ...]] = (
    ("langfuse", re.compile(r"langfuse:(?P<prompt>[^\x00-\x1f\x7f]{1,255})@(?P<version>[1-9][0-9]{0,8})")),
    ("mlflow", re.compile(r"prompts:/(?P<prompt>[^/@\x00-\x1f\x7f]{1,255})/(?P<version>[1-9][0-9]{0,8})")),
)


@lru_cache(maxsize=16_384)
def parse_ref(ref: str | None) -> PromptRef | None:
    """Return the prompt version that ``ref`` names; None if it names none, such as a commit or a ref with a label."""
    for store, pattern in _PATTERNS:
        if ref is not None and (found := pattern.fullmatch(ref)):
            return PromptRef(store, found["prompt"], found["version"])
    return None


def write_ref(ref: PromptRef) -> str:
    """Return the text of a ref."""
    if ref.store == "langfuse":
        return f"langfuse:{ref.prompt}@{ref.version}"
    return f"prompts:/{ref.prompt}/{ref.version}"
