"""Whether this installation runs the engine as C: a wheel may have been built so (``hatch_build.py``)."""

from __future__ import annotations

from importlib.util import find_spec


def is_compiled() -> bool:
    """Asked of the module that every outcome goes through, without importing it."""
    spec = find_spec("crl_stream.core.monitor.step")
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")
