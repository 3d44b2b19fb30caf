"""Measurements that compare the product with the alternatives: ``make bench``, or ``python -m benchmarks --json``.

Machines are noisy, so the ratios say more than the times.  Nothing here is a test.
"""
