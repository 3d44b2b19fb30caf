"""Measurements that compare the product with the alternatives: ``make bench``, or ``python -m benchmarks --json``.

Machines are noisy, so ratios are more reliable than times.  Nothing here is a test.
"""
