"""Measures decisions in closed loop: in worlds with known truth, the fleet uses the variant that a contestant chooses.

    sources       how the outcomes of a variant are drawn
    worlds        how good each variant really is, and when that changes
    loop          one task: outcomes are drawn, and the decisions determine which variant is used next
    engine        the product as a contestant
    actuator      what the rivals do when their detector has found something
    rivals        their detectors: the bare rule, a sequential test, river's
    contestants   the product and its rivals, by name
    limit         how soon a fall can be found at best
    figures       what many tasks of a world gained and lost
    cost          what a decision costs
    report        the figures as tables
    document      the figures in docs/

``python -m benchmarks.detection`` runs it.
"""
