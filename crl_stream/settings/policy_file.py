"""Reads the policy of a settings file, for comparisons: nothing else in the file, and no other layer, counts."""

from __future__ import annotations

from pathlib import Path

from crl_stream.core.policy import PolicySet
from crl_stream.settings.layers import BRIDGES, resolve
from crl_stream.settings.model import SECTIONS, is_policy
from crl_stream.settings.notifiers import PREFIX as NOTIFIERS
from crl_stream.settings.origin import Origin
from crl_stream.settings.profiles import PROFILES
from crl_stream.settings.settings_file import SettingsFile


def read_policy_file(path: Path) -> PolicySet:
    """Return the policy that a ``crl.toml`` describes with its profile, policy sections and overrides.

    Settings of the environment and of flags do not count, so that the file alone says what is compared. Raises
    ``ConfigError`` if the file cannot be read, or if a policy setting in it is wrong.
    """
    source = SettingsFile.find(path, {})
    assert source is not None
    layers = [
        (name, origin)
        for name, origin in source.layer()
        if is_policy(name)
        or (
            not {name.partition(".")[0], name.rpartition(".")[0]} & SECTIONS.keys()
            and not name.startswith((NOTIFIERS, BRIDGES))
        )
    ]
    return resolve(layers).policies


def profile_policy(profile: str) -> PolicySet:
    """Return the policy of a profile without further settings; ``profile`` is a key of ``PROFILES``."""
    assert profile in PROFILES
    return resolve([("profile", Origin(profile, "the profile's name"))]).policies
