"""Measures decisions in closed loop: the fleet uses the variant that the engine chooses, in worlds with a known truth.

    worlds     how good each variant really is, and when that changes
    loop       one task: outcomes are drawn, folded by the engine, and decide which variant is used next
    figures    what many tasks of a world gained and lost
    report     the figures as a table and as JSON

``python -m benchmarks.detection`` runs it.
"""
