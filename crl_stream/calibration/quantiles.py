"""Quantiles of the normal and the gamma distribution."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

_NORMAL = NormalDist()


def normal_quantile(probability: float) -> float:
    """Return a quantile of the standard normal distribution."""
    return _NORMAL.inv_cdf(probability)


def gamma_quantile(shape: float, probability: float) -> float:
    """Return a quantile of the gamma distribution with scale 1, to about 2 % (Wilson and Hilferty 1931).

    Twice a quantile for the shape ``n / 2`` is one of chi-squared with ``n`` degrees of freedom.

    >>> [round(gamma_quantile(*one), 1) for one in ((0.5, 0.975), (10.5, 0.025), (10.5, 0.975))]
    [2.5, 5.1, 17.7]
    """
    ninth = 1.0 / (9.0 * shape)
    return float(shape * max(0.0, 1.0 - ninth + normal_quantile(probability) * sqrt(ninth)) ** 3)
