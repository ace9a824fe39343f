"""The ladder of learning rates: which factor on the rate of the run to try next, given the gains so far."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_landscape.evidence.trials import RATE_FACTORS as RATE_FACTORS

OWN_RATE = "this optimizer"
FIRST_RATES = (OWN_RATE, "learning rate x0.1", "learning rate x10")
"""trials with the run's own optimizer that are always run"""
CLEAR_GAIN = 0.15
"""gain over that of the run's own rate from which on a rate clearly helps"""
BREAKS = -0.5
"""gain below which the loss has broken: it has risen by half"""
GROWS = 2.0
"""factor on the gain from one rate to a ten times larger one from which on a still larger rate may gain more: on a
slope that goes on, the gain grows tenfold, and at the best rate it does not grow"""


def next_rate(gains: Mapping[str, float]) -> str | None:
    """Return the name of the trial to run next, one of `RATE_FACTORS`; None if no further rate is informative.

    After the run's own rate, a tenth and ten times of it, smaller rates are tried if the loss breaks at a tenth or if
    that clearly helps, and larger ones while the gain keeps growing with the rate.

    >>> next_rate({"this optimizer": 0.01, "learning rate x0.1": 0.001, "learning rate x10": 0.1})
    'learning rate x100'
    >>> next_rate({"this optimizer": 0.01, "learning rate x0.1": 0.001, "learning rate x10": -0.1}) is None
    True

    Args:
        gains: the gain of each trial so far, by its name.
    """
    missing = next((name for name in FIRST_RATES if name not in gains), None)
    if missing is not None:
        return missing
    own = max(0.0, gains[OWN_RATE])
    tenth, hundredth = gains["learning rate x0.1"], "learning rate x0.01"
    if hundredth not in gains and (tenth < BREAKS or tenth > max(own, gains["learning rate x10"]) + CLEAR_GAIN):
        return hundredth
    rising = (OWN_RATE, "learning rate x10", "learning rate x100", "learning rate x1000")
    for below, above, next_above in zip(rising, rising[1:], rising[2:], strict=False):
        if not gains[above] > GROWS * max(0.0, gains[below]):
            return None
        if next_above not in gains:
            return next_above
    return None
