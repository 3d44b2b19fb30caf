"""Every id and digest that the engine makes: functions of what they name, so that a replay makes them again.

A fact's id is the day, for people, and a hash of its kind and its place in the log.  Digests tell two names, two
records or two commands apart without keeping them.
"""

from __future__ import annotations

from hashlib import blake2b, sha256

from crl_stream.core.instant import day


def fact_id(prefix: str, timestamp: int, *named: object) -> str:
    """``rb-20251119-5f2c8a90d1e7``: ``prefix``, the day of ``timestamp`` (milliseconds), 12 digits for ``named``.

    ``named`` is the kind of the fact and whatever tells it from all others of its kind, in a fixed order.
    """
    text = " ".join([str(part) for part in named])
    return f"{prefix}-{day(timestamp)}-{blake2b(text.encode(), digest_size=6).hexdigest()}"


def name_digest(name: str) -> bytes:
    """8 bytes for an id that somebody outside gave: of an invocation, a score, a command or a runtime."""
    return blake2b(name.encode(), digest_size=8).digest()


def record_digest(key: bytes | None, value: bytes | None, place: bytes = b"") -> bytes:
    """8 bytes for a record's key and value and, where ``place`` is given, for where it stands."""
    digest = blake2b(place, digest_size=8)
    digest.update(key or b"")
    digest.update(b"\0")
    digest.update(value or b"")
    return digest.digest()


def content_digest(content: bytes) -> bytes:
    """8 bytes for something that has no name but what it says."""
    return blake2b(content, digest_size=8).digest()


def command_hash(value: bytes | None) -> str:
    """SHA-256, in hex, of a command's bytes: what a reference in the log says of the record that it names."""
    return sha256(value or b"").hexdigest()


def policy_hash(canonical: bytes) -> str:
    """16 hex digits of a policy's canonical text: the name of the policy that a fact was stated under."""
    return sha256(canonical).hexdigest()[:16]
