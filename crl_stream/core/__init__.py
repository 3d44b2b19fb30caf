"""The engine: the safety guide as pure functions over values.

Reading order: ``identity``, ``messages``, ``policy``, then ``monitor`` (one task), ``proposer`` and ``overview``.
"""
