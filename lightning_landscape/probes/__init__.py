"""`LossSurface` in, reading out: what can be measured of the loss around the present weights."""

from lightning_landscape.probes.curvature import HessianExtremes as HessianExtremes
from lightning_landscape.probes.curvature import HessianSpectrum as HessianSpectrum
from lightning_landscape.probes.planes import AnchorPlane as AnchorPlane
from lightning_landscape.probes.planes import CurvaturePlane as CurvaturePlane
from lightning_landscape.probes.planes import RandomPlane as RandomPlane
from lightning_landscape.probes.planes import TrajectoryPlane as TrajectoryPlane
