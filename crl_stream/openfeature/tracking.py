"""What agents use to track outcomes: ``tracked`` around one invocation, or ``outcome_of`` for their own events."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Literal, Protocol

from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.track import TrackingEventDetails

from crl_stream.client.invocation import is_abandonment
from crl_stream.openfeature.outcomes import ABANDONED


class Tracks(Protocol):
    """An OpenFeature client."""

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Track an event."""
        ...


def outcome_of(
    details: FlagEvaluationDetails[Any], quality: float | None = None, **attributes: Any
) -> TrackingEventDetails:
    """Return the tracking details of an outcome, or of a late score, that belongs to the evaluation ``details``.

    The attributes name the evaluation's variant, epoch, source and invocation id. So another thread or process than the
    one that evaluated the flag may track the event. Further ``attributes`` are fields of the contract, such as
    ``status``, ``cost`` and ``duration_seconds``.
    """
    link = {
        name: details.flag_metadata[name]
        for name in ("variant_id", "epoch", "source", "invocation_id", "session_id")
        if name in details.flag_metadata
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    return TrackingEventDetails(quality, {**link, **given})


class Outcome:
    """The outcome of one invocation so far."""

    def __init__(self) -> None:
        self.status: Literal["success", "failure", "error"] | None = None
        """How the invocation ended; without one, an exception is an error, and anything else a success."""
        self.quality: float | None = None
        """How good the result was, 0 to 1."""
        self.attributes: dict[str, Any] = {}
        """Other fields of the contract, such as ``reward``, ``cost`` and ``tokens_input``."""

    def failed(self) -> None:
        """Record that the invocation ended with a bad result."""
        self.status = "failure"


class tracked:  # noqa: N801 - it is used like a function
    """A ``with`` block around one invocation: it tracks the outcome at the end and lets exceptions through.

    ``context`` is the one that the flag is evaluated with; the evaluation may be in the block or before it. An
    exception counts as an error of the variant. A cancellation, Ctrl-C, ``SystemExit`` or the closing of a generator
    does not: it is counted and not published, unless the block has set a status.
    """

    def __init__(self, client: Tracks, flag_key: str, context: EvaluationContext | None = None) -> None:
        self._client, self._flag_key, self._context = client, flag_key, context
        self._outcome = Outcome()
        self._began = 0.0

    def __enter__(self) -> Outcome:
        """Begin to measure the duration."""
        self._began = time.monotonic()
        return self._outcome

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Track the outcome."""
        outcome = self._outcome
        status: str = outcome.status or "success"
        if error is not None and not is_abandonment(error):
            status = "error"
        elif error is not None and outcome.status is None:
            status = ABANDONED
        seconds = time.monotonic() - self._began
        attributes = {"duration_seconds": seconds, **outcome.attributes, "status": status}
        self._client.track(self._flag_key, self._context, TrackingEventDetails(outcome.quality, attributes))
        return False
