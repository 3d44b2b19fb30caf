"""Shows whether this installation runs the engine compiled to C, as some wheels do (``hatch_build.py``)."""

from __future__ import annotations

from importlib.util import find_spec


def is_compiled() -> bool:
    """Return whether the engine's main module is compiled, without importing it."""
    spec = find_spec("crl_stream.core.monitor.step")
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")
