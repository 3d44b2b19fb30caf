"""Where each label should be, as the topics say; and which variants the other versions are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.mirrors import PromptStore
from crl_stream.core.mirroring.refs import parse_ref


class Wanted(NamedTuple):
    """Where the label of one task in one store should be, as the topics say."""

    store: PromptStore
    key: TaskKey
    prompt: str
    label: str
    active: m.ActiveVariant
    version: str | None
    """The version of the active variant; None if the label cannot follow it."""
    variants: Mapping[str, tuple[str, ...]]
    """The variants of each version, without retired ones."""
    problem: str = ""
    """Why the label cannot follow the active variant; empty if it can."""
    without_ref: bool = False
    """Whether the problem is only that the active variant has no ref."""

    @property
    def epoch(self) -> tuple[int, int]:
        """The incarnation and the epoch, which only grow."""
        return self.active.incarnation, self.active.epoch

    def ref(self, version: str | None) -> str:
        """Name a version for people."""
        return f"version {version} of {self.prompt}" if version is not None else f"no version of {self.prompt}"


def wants(
    store: PromptStore,
    label: str,
    actives: Mapping[TaskKey, m.ActiveVariant],
    catalogues: Mapping[TaskKey, m.VariantCatalogue],
) -> dict[TaskKey, Wanted]:
    """Return what is wanted of each task's label in ``store``; tasks whose variants have no ref there are left out.

    A label belongs to one prompt and a prompt to one task: otherwise two tasks would move one label in turn.
    """
    prompts: dict[TaskKey, set[str]] = {}
    claims: dict[str, set[TaskKey]] = defaultdict(set)
    for key, catalogue in catalogues.items():
        if key in actives and (found := _prompts(store, catalogue)):
            prompts[key] = found
            for prompt in found:
                claims[prompt].add(key)
    made = {
        key: _want(store, label, key, actives[key], catalogues[key], names, claims) for key, names in prompts.items()
    }
    return {key: want for key, want in made.items() if want is not None}


def _prompts(store: PromptStore, catalogue: m.VariantCatalogue) -> set[str]:
    refs = (parse_ref(variant.ref) for variant in catalogue.variants)
    return {ref.prompt for ref in refs if ref is not None and ref.store == store}


def _want(
    store: PromptStore,
    label: str,
    key: TaskKey,
    active: m.ActiveVariant,
    catalogue: m.VariantCatalogue,
    prompts: set[str],
    claims: Mapping[str, Iterable[TaskKey]],
) -> Wanted | None:
    """Return None until the catalogue, which is on another topic, has the active variant."""
    if all(variant.variant_id != active.variant_id for variant in catalogue.variants):
        return None
    prompt = min(prompts)
    versions: dict[str, list[str]] = defaultdict(list)
    version = None
    for variant in catalogue.variants:
        ref = parse_ref(variant.ref)
        if ref is None or ref.store != store or ref.prompt != prompt:
            continue
        if variant.variant_id == active.variant_id:
            version = ref.version
        if variant.state != "retired":
            versions[ref.version].append(variant.variant_id)
    others = sorted(str(other) for other in claims[prompt] if other != key)
    problem, without_ref = "", False
    if len(prompts) > 1:
        problem = f"its variants name several prompts: {_listed(prompts)}"
    elif others:
        problem = f"variants of {_listed(others)} name the same prompt"
    elif version is None:
        problem, without_ref = f"its active variant {active.variant_id} has no ref there", True
    found = {version: tuple(sorted(names)) for version, names in versions.items()}
    return Wanted(store, key, prompt, label, active, None if problem else version, found, problem, without_ref)


def _listed(names: Iterable[str]) -> str:
    first, *more = sorted(names)
    return first + "".join(f", {name}" for name in more[:2]) + (f" and {len(more) - 2} more" if len(more) > 2 else "")
