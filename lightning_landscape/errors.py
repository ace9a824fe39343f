"""The exceptions and the warnings of this package.

Their messages begin with a code such as ``[LL202]``, which never changes; ``docs/warnings.md`` explains each code.
"""

from __future__ import annotations


class LandscapeError(Exception):
    """Base class of the exceptions of this package; wrong arguments raise a ``ValueError`` instead."""


class SurfaceError(LandscapeError):
    """The loss cannot be evaluated at other weights without side effects on the run; the message says why."""


class CheckpointError(LandscapeError):
    """A checkpoint file cannot be used; the message says why."""


class LogError(LandscapeError):
    """The log of a run cannot be read, or lacks what is looked for; the message says why."""


class CurvatureError(LandscapeError):
    """The curvature cannot be measured; the message says why."""


class OverBudgetError(LandscapeError):
    """A probe needs more gradients than its budget; the message says how many."""


class LandscapeWarning(UserWarning):
    """Base class of the warnings of this package; a filter for this class silences all of them."""


class PlateauWarning(LandscapeWarning):
    """The loss has stopped falling, as the stall test shows."""


class DivergenceWarning(LandscapeWarning):
    """The loss grows or falls without bound, or is no longer finite."""


class GradientWarning(LandscapeWarning):
    """Gradients vanish on their way through the network, or explode."""


class BarrierWarning(LandscapeWarning):
    """The loss rises on the straight line between two points of the run."""


class ProbeSkippedWarning(LandscapeWarning):
    """A probe is skipped because it cannot measure this module; the message says why."""


class ProbeFailedWarning(LandscapeWarning):
    """A probe, a figure or a logger failed; training continues."""
