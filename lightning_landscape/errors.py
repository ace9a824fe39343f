"""What can go wrong, and what is worth a warning: one tree of errors, one tree of warnings.

Every message carries a stable code such as ``[LL202]``; ``docs/causes.md`` explains each.
"""

from __future__ import annotations


class LandscapeError(Exception):
    """Anything this library raises that is not a plain ``ValueError`` about an argument."""


class SurfaceError(LandscapeError):
    """The loss cannot be evaluated at other weights without a trace, and the message says why."""


class CheckpointError(LandscapeError):
    """A checkpoint file cannot be used, and the message says why."""


class CurvatureError(LandscapeError):
    """The curvature cannot be measured here, and the message says why."""


class OverBudgetError(LandscapeError):
    """A probe needs more gradients than the effort leaves, and the message says how many."""


class LandscapeWarning(UserWarning):
    """Everything this library warns about; filter on this to silence all of it."""


class PlateauWarning(LandscapeWarning):
    """The loss has provably stopped falling."""


class DivergenceWarning(LandscapeWarning):
    """The loss is growing without bound or is not finite any more."""


class GradientWarning(LandscapeWarning):
    """Gradients vanish on their way through the network, or explode."""


class BarrierWarning(LandscapeWarning):
    """The loss rises on the straight line between two points of the run."""


class ProbeSkippedWarning(LandscapeWarning):
    """A probe will not speak about this module, and the message says why."""


class ProbeFailedWarning(LandscapeWarning):
    """A probe, a picture or a logger failed; training goes on."""
