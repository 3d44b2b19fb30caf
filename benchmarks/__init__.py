"""Measurements, compared with what a user would do otherwise: ``make bench``, or ``python -m benchmarks --json``.

Machines are noisy: the ratios say more than the times.  Nothing here is a test.
"""
