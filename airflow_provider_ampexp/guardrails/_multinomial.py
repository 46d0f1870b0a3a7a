"""A sequential test of counts against expected shares, valid for any number of looks.

M. Lindon and A. Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022, arXiv 2011.03567.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log

# The concentration of the prior around the expected shares. Any value is valid; it only changes which deviations are
# found first. For 50/50, at alpha 0.01, a 60/40 split is found after some 310 users, and 52/48 after some 7,000. With
# ten times this value, 60/40 takes twice as many users, and 52/48 takes no fewer.
CONCENTRATION = 100.0


def log_bayes_factor(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """Return the logarithm of the Bayes factor of "other shares" against the expected shares.

    With counts ``x_i``, their sum ``n``, expected shares ``s_i`` and ``a_i = concentration * s_i``, the other shares
    follow a Dirichlet distribution with the parameters ``a_i``, which is centred on the expected shares::

        BF = gamma(sum a) / gamma(sum a + n)  *  product of gamma(a_i + x_i) / gamma(a_i)  /  product of s_i ** x_i

    If the expected shares are true, BF is a martingale that begins at 1. So the probability that it *ever* reaches
    ``1 / alpha`` is at most ``alpha`` (Ville's inequality), for any number of looks.

    :param counts: the counts
    :param shares: the expected shares, each greater than 0, with the sum 1
    :param concentration: the concentration of the prior; see ``CONCENTRATION``
    """
    n = sum(counts)
    total = lgamma(concentration) - lgamma(concentration + n)
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        total += lgamma(prior + count) - lgamma(prior) - count * log(share)
    return total


def p_value(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """Return ``min(1, 1 / BF)``. The minimum over all looks is the sequential p-value; reject at alpha or less."""
    return exp(min(0.0, -log_bayes_factor(counts, shares, concentration)))
