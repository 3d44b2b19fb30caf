"""A Faust transport plugin, ``kafkabatch://``: aiokafka in micro-batches."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver

from crl_stream.worker.transport.consumer import Consumer
from crl_stream.worker.transport.producer import Producer
from crl_stream.worker.transport.stage import Stage

SCHEME: Final = "kafkabatch"


class BatchSchema(faust.Schema):
    """A schema that passes batches on unchanged."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 - Faust names it
        """Return the message's key, which is None for a batch."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 - Faust names it
        """Return the batch itself."""
        return message.value


class Transport(driver.Transport):
    """Faust's stock transport with our consumer and producer."""

    Consumer: ClassVar[type] = Consumer
    Producer: ClassVar[type] = Producer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stages: dict[str, Stage] = {}
        """The stage of each source topic."""


def register() -> None:
    """Register the scheme with Faust."""
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
