"""The roles of a worker, in a separate file so that the command line can list them without loading the stages."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["monitor", "proposer", "overview", "tags", "files", "notifier", "bridge", "mirror"]
"""What ``crl worker --role`` can run; the stages of a role form one consumer group."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
