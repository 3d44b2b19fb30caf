"""Every id and digest that the engine makes.  Each is a function of what it names, so a replay gives the same ones.

A fact's id consists of the day, for people, and a hash of its kind and its position in the log.  Digests distinguish
names, records or commands without storing them.
"""

from __future__ import annotations

from hashlib import blake2b, sha256

from crl_stream.core.instant import day


def fact_id(prefix: str, timestamp: int, *named: object) -> str:
    """Build an id like ``rb-20251119-5f2c8a90d1e7``: ``prefix``, the day of ``timestamp`` (ms), a hash of ``named``.

    ``named`` is the kind of the fact and everything that distinguishes it from others of its kind, in a fixed order.
    """
    text = " ".join(map(str, named))
    return f"{prefix}-{day(timestamp)}-{blake2b(text.encode(), digest_size=6).hexdigest()}"


def name_digest(name: str) -> bytes:
    """Return 8 bytes for an external id: that of an invocation, a score, a command or a runtime."""
    return blake2b(name.encode(), digest_size=8).digest()


def record_digest(key: bytes | None, value: bytes | None, place: bytes = b"") -> bytes:
    """Return 8 bytes for a record's key and value and, if ``place`` is given, for its position."""
    digest = blake2b(place, digest_size=8)
    digest.update(key or b"")
    digest.update(b"\0")
    digest.update(value or b"")
    return digest.digest()


def content_digest(content: bytes) -> bytes:
    """Return 8 bytes that identify something by its content alone."""
    return blake2b(content, digest_size=8).digest()


def command_hash(value: bytes | None) -> str:
    """Return the hex SHA-256 of a command's bytes, by which a reference in the log identifies the command's record."""
    return sha256(value or b"").hexdigest()


def policy_hash(canonical: bytes) -> str:
    """Return 16 hex digits that identify a policy by its canonical text; facts name the policy in force by them."""
    return sha256(canonical).hexdigest()[:16]
