"""Record batches with header names that are not UTF-8, for aiokafka's producer.

A dead letter keeps the headers of its record, and Kafka accepts any bytes as a name.  aiokafka's compiled builder
accepts only text; its pure-Python builder calls ``encode`` on the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from crl_stream.wire.record_batch import encode_name
from crl_stream.wire.records import Headers


def has_byte_names(headers: Headers) -> bool:
    """Return whether any header name is not UTF-8."""
    return any(not name.isascii() and encode_name(name) != name.encode("utf-8", "replace") for name, _ in headers)


class ByteNamesBatch(BatchBuilder):  # type: ignore[misc]
    """Return a batch of one record for ``AIOKafkaProducer.send_batch``, with room for ``size`` bytes."""

    def __init__(self, key: bytes | None, value: bytes | None, headers: Headers, size: int) -> None:
        super().__init__(size, 0)
        self._builder: Any = _DefaultRecordBatchBuilderPy(
            2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=size
        )
        named: Sequence[Any] = [(_Name(name), value) for name, value in headers]
        self.append(timestamp=None, key=key, value=value, headers=named)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        # The stock method always uses the compiled builder.
        self._builder.set_producer_state(producer_id, producer_epoch, base_sequence)


class _Name(str):
    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        """Return the bytes of the name as they were read."""
        return encode_name(str(self))
