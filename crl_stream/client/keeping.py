"""The file in which a runtime keeps what it knows, for the time in which Kafka cannot be reached."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from crl_stream.settings import Settings
from crl_stream.wire.codec import Rejected, decode, encode

log = logging.getLogger(__name__)


def kept_file(settings: Settings) -> Path:
    """Where the active variants of a Kafka are kept: each has a file of its own."""
    kafka = settings.kafka
    where = hashlib.sha256(f"{kafka.bootstrap_servers} {kafka.topic_prefix}".encode()).hexdigest()[:12]
    return settings.client.cache_dir / f"active-variants-{where}.json"


def read_kept(settings: Settings, topics: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Topic and message of all that was kept and can still be read; nothing where there is no file."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        page = json.loads(kept_file(settings).read_bytes())
        for topic in topics:
            for entry in page[topic]:
                decoded = decode(topic, json.dumps(entry).encode(), None)
                if not isinstance(decoded, Rejected):
                    yield topic, decoded.message


def keep(settings: Settings, known: Mapping[str, Iterable[Any]]) -> None:
    """Write messages by topic, all or nothing; a disk that does not take them is a warning."""
    lists = (b'"%s":[%s]' % (topic.encode(), b",".join(map(encode, every))) for topic, every in known.items())
    file = kept_file(settings)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{threading.get_ident()}.part")
        partial.write_bytes(b"{%s}" % b",".join(lists))
        partial.replace(file)
    except OSError as error:
        log.warning("the active variants cannot be kept in %s: %s", file, error)
