"""Probes: functions that take a `LossSurface` and return a reading, or None where the surface lacks what they need."""

from lightning_landscape.probes.activity import activity as activity
from lightning_landscape.probes.alternatives import TryAlternatives as TryAlternatives
from lightning_landscape.probes.before import before_and_after as before_and_after
from lightning_landscape.probes.curvature import HessianExtremes as HessianExtremes
from lightning_landscape.probes.curvature import HessianSpectrum as HessianSpectrum
from lightning_landscape.probes.data import batch_contents as batch_contents
from lightning_landscape.probes.finiteness import first_not_finite as first_not_finite
from lightning_landscape.probes.floor import loss_floor as loss_floor
from lightning_landscape.probes.line import LossLine as LossLine
from lightning_landscape.probes.linear_fit import linear_fit as linear_fit
from lightning_landscape.probes.noise import gradient_noise as gradient_noise
from lightning_landscape.probes.outputs import best_constant as best_constant
from lightning_landscape.probes.outputs import outputs as outputs
from lightning_landscape.probes.path import PathPlane as PathPlane
from lightning_landscape.probes.restarts import Restarts as Restarts
from lightning_landscape.probes.same_batches import same_batches as same_batches
from lightning_landscape.probes.symmetry import symmetry as symmetry
from lightning_landscape.probes.trials import CopyTrials as CopyTrials
from lightning_landscape.probes.trials import input_use as input_use
from lightning_landscape.probes.trials import starting_point as starting_point
from lightning_landscape.probes.wiring import wiring as wiring
from lightning_landscape.surface import Probe

EXAMINATION: tuple[Probe, ...] = (
    *(wiring, loss_floor, starting_point, before_and_after, activity, outputs, symmetry, batch_contents, input_use),
    *(CopyTrials(), HessianExtremes(), linear_fit, Restarts()),
)
"""probes of a diagnosis, in ascending order of cost; each runs only while the readings so far leave the cause open"""

FIRST_LOOK: tuple[Probe, ...] = (wiring, loss_floor, best_constant)
"""probes that run on one batch after the first optimizer step: for mistakes in the wiring, and for the stall test"""
