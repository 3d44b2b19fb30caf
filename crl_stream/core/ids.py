"""The ids and digests that the engine makes.  Each depends only on what it names, so a replay gives the same ones.

A fact's id contains the day, for people, and a hash of the fact's kind and position in the log.  Digests distinguish
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
    """Return the 8-byte digest of an external id, such as that of an invocation, score, command or runtime."""
    return blake2b(name.encode(), digest_size=8).digest()


def record_digest(key: bytes | None, value: bytes | None, place: bytes = b"") -> bytes:
    """Return the 8-byte digest of a record's key and value and, if ``place`` is given, of its position."""
    digest = blake2b(place, digest_size=8)
    digest.update(key or b"")
    digest.update(b"\0")
    digest.update(value or b"")
    return digest.digest()


def content_digest(content: bytes) -> bytes:
    """Return the 8-byte digest of ``content``."""
    return blake2b(content, digest_size=8).digest()


def command_hash(value: bytes | None) -> str:
    """Return the hex SHA-256 of a command's bytes, by which a reference in the log identifies the command's record."""
    return sha256(value or b"").hexdigest()


def policy_hash(canonical: bytes) -> str:
    """Return the hash of a policy's canonical text, 16 hex digits; facts use it to name the policy in force."""
    return sha256(canonical).hexdigest()[:16]
