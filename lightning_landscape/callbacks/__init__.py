"""The public monitors, one file each, and the base class that they share."""

from lightning_landscape.callbacks.curvature import CurvatureMonitor as CurvatureMonitor
from lightning_landscape.callbacks.gradient_norm import GradientNormMonitor as GradientNormMonitor
from lightning_landscape.callbacks.interpolation import LossInterpolationMonitor as LossInterpolationMonitor
from lightning_landscape.callbacks.landscape import LandscapeMonitor as LandscapeMonitor
from lightning_landscape.callbacks.latest import last_report as last_report
from lightning_landscape.callbacks.monitor import Monitor as Monitor
from lightning_landscape.callbacks.plateau import PlateauMonitor as PlateauMonitor
from lightning_landscape.examination.examination import Examination as Examination
