"""The fault campaign: checks whether the promises P1-P4 hold under faults.  Run it with ``make faults``.

``simulated`` runs the real stages of the worker on a broker in memory: ``simulate`` plays seeds, and ``mutants``
removes one guard at a time and shows that some seed then fails.  ``live`` injects faults into real workers on a real
broker, under load.  See ``docs/faults.md``.
"""
