"""Words that the policy and messages share. They are here so that a client can read messages without the policy."""

from __future__ import annotations

from typing import Literal

Mode = Literal["enforce", "shadow", "observe"]
OnChange = Literal["next_turn", "next_session"]
