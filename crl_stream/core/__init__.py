"""The engine: the safety guide as pure functions over values.

Reading order: ``identity``, ``messages``, ``policy``, ``row``, ``learning``, ``detectors``, ``evidence``,
``verdict``, ``rollback``, ``activation``, ``commands``, ``monitor``.
"""
