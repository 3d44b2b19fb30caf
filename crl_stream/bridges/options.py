"""The settings that bridges share; each kind's file adds its own."""

from __future__ import annotations

import math
from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from crl_stream.bridges.scale import Scale
from crl_stream.sections import CheckedSection

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
"""The name of a topic that another program writes; kafka.topic_prefix does not apply to it."""
OwnName = Annotated[str, Field(pattern=r"^([A-Za-z0-9._:-]{1,128})?$")]
"""An agent, task or variant; empty means none."""
_INBOX: Final = ""


class BridgeOptions(CheckedSection):
    """Settings of one bridge, ``[bridges.<name>]``."""

    model_config = ConfigDict(defer_build=True)

    kind: str
    """Kind of bridge: the name of its file in ``bridges/kinds``."""

    def source(self) -> str:
        """Return the topic of another program that the bridge reads; empty if its input arrives over HTTP."""
        return _INBOX


class ScoredOptions(BridgeOptions):
    """Settings of a bridge that turns scores into quality."""

    evaluator: Annotated[str, Field(max_length=200)] = ""
    """Name of the score or evaluator that measures quality; all others are ignored. Empty accepts every name."""
    score_min: float = 0.0
    """The score that means quality 0."""
    score_max: float = 1.0
    """The score that means quality 1; less than score_min if small scores are good."""

    @model_validator(mode="after")
    def _has_a_span(self) -> Self:
        if not (math.isfinite(self.score_min) and math.isfinite(self.score_max)) or self.score_min == self.score_max:
            raise PydanticCustomError("scale", "score_min and score_max should be two different finite numbers")
        return self

    @property
    def scale(self) -> Scale:
        """How scores become quality."""
        return Scale(self.evaluator, self.score_min, self.score_max)
