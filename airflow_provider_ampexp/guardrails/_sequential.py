"""A sequential test of two groups' means, valid for any number of looks.

R. Johari, L. Pekelis and D. Walsh, "Always Valid Inference: Bringing Sequential Analysis to A/B Testing", 2015, arXiv
1512.04922: the mixture sequential probability ratio test (mSPRT). Here it is one-sided, and on the relative lift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, fsum, log, sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Moments:
    """The count, mean and squared deviations of a stream of values. The sum of two is that of both streams.

    :param count: the number of values
    :param nonzero: the number of values that are not 0
    :param mean: the mean
    :param deviations: the sum of the squared deviations from the mean
    """

    count: int = 0
    nonzero: int = 0
    mean: float = 0.0
    deviations: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        """Return the moments of a batch."""
        if not values:
            return cls()
        mean = fsum(values) / len(values)
        deviations = fsum([(value - mean) ** 2 for value in values])
        return cls(len(values), len(values) - values.count(0), mean, deviations)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both streams (Chan, Golub and LeVeque)."""
        count = self.count + other.count
        if not count:
            return self
        apart, share = other.mean - self.mean, other.count / count
        return Moments(
            count,
            self.nonzero + other.nonzero,
            self.mean + apart * share,
            self.deviations + other.deviations + apart * apart * share * self.count,
        )


@dataclass(frozen=True)
class Lift:
    """A relative difference of two means, and its always-valid bounds.

    Each bound alone is valid at ``1 - alpha``: the probability that the true difference is *ever* below ``low`` is at
    most ``alpha``, for any number of looks. The same holds above ``high``.
    """

    estimate: float
    low: float
    high: float


def lift(treated: Moments, control: Moments, *, alpha: float, detect: float) -> Lift | None:
    """Return the relative difference of the treated users' mean to the control's, or ``None`` without any variance.

    The variance is that of all users together. In a small group of a skewed metric, a low mean comes with a low
    variance, so the group's own variance would give false alarms.

    :param treated: the moments of the users who have the feature
    :param control: the moments of the users who do not
    :param alpha: the probability of a false alarm on one side, over all looks
    :param detect: the difference that is found first; see :func:`deviations_needed`
    :raises ValueError: when a group is empty, or the control's mean is not above 0
    """
    if not treated.count or not control.count:
        raise ValueError("expected users in both groups, got an empty group")
    if control.mean <= 0:
        raise ValueError(f"expected a metric with a mean above 0 in the control, got {control.mean:g}")
    together = treated + control
    variance = together.deviations / (together.count - 1)
    error = sqrt(variance * (1 / treated.count + 1 / control.count)) / control.mean
    if not error:
        return None
    estimate = treated.mean / control.mean - 1
    width = deviations_needed(error, alpha=alpha, detect=detect) * error
    return Lift(estimate, estimate - width, estimate + width)


def deviations_needed(error: float, *, alpha: float, detect: float) -> float:
    """Return the number of standard errors from 0 at which a difference is shown to exist.

    The mixing distribution of the true difference is a half-normal with the scale ``detect``. For a difference ``d``
    with the standard error ``s``, ``r = detect**2 / (s**2 + detect**2)`` and ``u = sqrt(r) * d / s``, the likelihood
    ratio of the mixture against "no difference, or one in the other direction" is::

        LR = 2 * Phi(u) * sqrt(1 - r) * exp(u**2 / 2)

    If there is no difference, LR is a martingale that begins at 1. So the probability that it *ever* reaches
    ``1 / alpha`` is at most ``alpha`` (Ville's inequality), for any number of looks.

    :param error: the standard error of the difference
    :param alpha: the probability of a false alarm, over all looks
    :param detect: any value is valid; it only changes which differences are found first
    """
    r = detect * detect / (error * error + detect * detect)
    target = log(1 / alpha) - log(1 - r) / 2
    low, high = 0.0, sqrt(2 * target)
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if middle * middle / 2 + log(erfc(-middle / sqrt(2))) < target:
            low = middle
        else:
            high = middle
    return high / sqrt(r)


def smallest_harm(
    users: float, share: float, variation: float, *, alpha: float, detect: float, probability: float = 0.8
) -> float | None:
    """Return the smallest relative harm that one look at the end of a stage finds with a probability.

    More looks find it a little more often.

    :param users: the users who are active during the stage, in both groups together
    :param share: the share of them who have the feature
    :param variation: the metric's standard deviation divided by its mean; for a conversion rate ``p`` it is
        ``sqrt((1 - p) / p)``
    :returns: ``None`` without a control, or without users
    """
    if not 0 < share < 1 or users <= 0:
        return None
    error = variation * sqrt(1 / (users * share) + 1 / (users * (1 - share)))
    return error * (deviations_needed(error, alpha=alpha, detect=detect) + NormalDist().inv_cdf(probability))
