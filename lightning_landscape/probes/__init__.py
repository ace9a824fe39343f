"""Probes: each takes a `LossSurface` and returns one reading, or None where it has nothing to say."""

from lightning_landscape.probes.activity import activity as activity
from lightning_landscape.probes.alternatives import TryAlternatives as TryAlternatives
from lightning_landscape.probes.curvature import HessianExtremes as HessianExtremes
from lightning_landscape.probes.curvature import HessianSpectrum as HessianSpectrum
from lightning_landscape.probes.line import LossLine as LossLine
from lightning_landscape.probes.noise import gradient_noise as gradient_noise
from lightning_landscape.probes.path import PathPlane as PathPlane
from lightning_landscape.probes.planes import AnchorPlane as AnchorPlane
from lightning_landscape.probes.planes import CurvaturePlane as CurvaturePlane
from lightning_landscape.probes.planes import RandomPlane as RandomPlane
from lightning_landscape.probes.planes import TrajectoryPlane as TrajectoryPlane
from lightning_landscape.probes.symmetry import symmetry as symmetry
from lightning_landscape.probes.trials import CopyTrials as CopyTrials
from lightning_landscape.probes.trials import RedrawnRestart as RedrawnRestart
from lightning_landscape.probes.trials import input_use as input_use
from lightning_landscape.probes.trials import starting_point as starting_point
from lightning_landscape.surface import Probe

EXAMINATION: tuple[Probe, ...] = (
    *(starting_point, activity, symmetry, input_use),
    *(CopyTrials(), HessianExtremes(), RedrawnRestart()),
)
"""what examines a stalled loss, in the order of price; the next one runs only while the cause is open"""
