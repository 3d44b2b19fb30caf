"""The words with which a person chooses a policy: a file, a profile, the policy in force, their settings, the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from crl_stream.core.policy import PolicySet
from crl_stream.errors import ConfigError, UsageError
from crl_stream.kafka.fleet_policy import read_fleet_policy
from crl_stream.settings import PROFILES
from crl_stream.settings.policy_file import profile_policy, read_policy_file

LOG: Final = "log"
IN_FORCE: Final = "in-force"
SETTINGS: Final = "settings"


class ChosenPolicy(NamedTuple):
    """A policy, and where it comes from."""

    label: str
    policies: PolicySet | None
    """The policies by task; None stands for the policies set by the log itself, each from its position on."""


async def choose_policy(word: str, session: Any) -> ChosenPolicy:
    """Return the policy that ``word`` names; ``session`` is that of the call.

    A word that names a policy wins over a file of that name; ``./log`` is the file. Raises ``UsageError`` or
    ``ConfigError`` if there is no such policy.
    """
    if word == LOG:
        return ChosenPolicy("the log", None)
    if word == SETTINGS:
        settings = session.settings
        return ChosenPolicy(f"your settings (profile {settings.profile})", settings.policies)
    if word in PROFILES:
        return ChosenPolicy(f"profile {word}", profile_policy(word))
    if word == IN_FORCE:
        fleet = await read_fleet_policy(session.connected)
        if not fleet.exists:
            raise UsageError(
                "No policy is in force yet.",
                hint=f"name a settings file, or a profile: {', '.join(PROFILES)}",
            )
        return ChosenPolicy("the policy in force", fleet.policies)
    return ChosenPolicy(word, _policy_in(Path(word)))


def _policy_in(path: Path) -> PolicySet:
    if not path.is_file():
        raise ConfigError(
            f"There is no file {path}.",
            hint=f"name a settings file like crl.toml, or write {IN_FORCE}, {SETTINGS}, {', '.join(PROFILES)}",
        )
    return read_policy_file(path)
