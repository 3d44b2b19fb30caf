"""Which errors are the broker's, and which are not."""

from __future__ import annotations

import errno
import os

import pytest

from crl_stream.errors import Unavailable
from crl_stream.kafka.connection import reaching
from crl_stream.settings.model import Kafka


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_not_called_a_silent_broker(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as raised, reaching(Kafka()):
        raise OSError(number, os.strerror(number))
    assert raised.value.errno == number


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_a_network_that_does_not_answer_is_said_with_the_address(number: int) -> None:
    with pytest.raises(Unavailable, match="Kafka does not answer"), reaching(Kafka()):
        raise OSError(number, os.strerror(number))
