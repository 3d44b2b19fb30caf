"""The worker: the pure stages carried by stock Faust, made safe.  The only folder that imports faust.

Reading order: ``lanes`` (one batch in flight per partition), ``consumer`` and ``producer`` (the batching transport),
``table`` (rows as bytes), ``stages`` (the two laws of order), ``app``, ``agents``, ``views``, ``run``.
"""
