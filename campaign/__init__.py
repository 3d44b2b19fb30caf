"""The fault campaign: what the promises P1-P4 are worth when things break, ``make faults``.

``simulated`` runs the real stages of the worker on a broker in memory: ``simulate`` plays seeds, ``mutants`` takes one
guard after the other away and shows that a seed finds out.  ``live`` breaks real workers on a real broker, under load.
See ``docs/faults.md``.
"""
