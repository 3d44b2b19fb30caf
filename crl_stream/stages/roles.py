"""The roles of a worker, by themselves: the command line names them without loading the stages."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["monitor", "proposer", "overview", "files", "notifier"]
"""What ``crl worker --role`` runs: the stages of a role are one consumer group."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
