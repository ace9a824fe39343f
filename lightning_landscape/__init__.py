"""Callbacks for PyTorch Lightning that tell you why a training run is stuck.

The public names are loaded on first use [PEP 562], so that TensorBoard can import this package without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_landscape import probes as probes
    from lightning_landscape import remedies as remedies
    from lightning_landscape.callbacks import CurvatureMonitor as CurvatureMonitor
    from lightning_landscape.callbacks import Examination as Examination
    from lightning_landscape.callbacks import GradientNormMonitor as GradientNormMonitor
    from lightning_landscape.callbacks import LandscapeMonitor as LandscapeMonitor
    from lightning_landscape.callbacks import LossInterpolationMonitor as LossInterpolationMonitor
    from lightning_landscape.callbacks import Monitor as Monitor
    from lightning_landscape.callbacks import PlateauMonitor as PlateauMonitor
    from lightning_landscape.callbacks import last_report as last_report
    from lightning_landscape.comparison import compare_runs as compare_runs
    from lightning_landscape.diagnosis import Detector as Detector
    from lightning_landscape.diagnosis import diagnose as diagnose
    from lightning_landscape.errors import LandscapeError as LandscapeError
    from lightning_landscape.errors import LandscapeWarning as LandscapeWarning
    from lightning_landscape.evidence import Cause as Cause
    from lightning_landscape.evidence import Evidence as Evidence
    from lightning_landscape.evidence import Finding as Finding
    from lightning_landscape.evidence import Measurements as Measurements
    from lightning_landscape.evidence import RunComparison as RunComparison
    from lightning_landscape.evidence import Verdict as Verdict
    from lightning_landscape.metrics import GradientNoiseScale as GradientNoiseScale
    from lightning_landscape.metrics import GradientNorm as GradientNorm
    from lightning_landscape.metrics import PlateauLength as PlateauLength
    from lightning_landscape.remedies import Remedy as Remedy
    from lightning_landscape.reporting.events import read_events as read_events
    from lightning_landscape.reporting.layout import landscape_layout as landscape_layout
    from lightning_landscape.reporting.mesh import add_surface as add_surface
    from lightning_landscape.surface import LossSurface as LossSurface
    from lightning_landscape.surface import Probe as Probe

__version__ = "0.1.0"

_MODULES = ("probes", "remedies")
_HOMES = {
    "LandscapeMonitor": "lightning_landscape.callbacks",
    "GradientNormMonitor": "lightning_landscape.callbacks",
    "PlateauMonitor": "lightning_landscape.callbacks",
    "LossInterpolationMonitor": "lightning_landscape.callbacks",
    "CurvatureMonitor": "lightning_landscape.callbacks",
    "Monitor": "lightning_landscape.callbacks",
    "Examination": "lightning_landscape.callbacks",
    "last_report": "lightning_landscape.callbacks",
    "compare_runs": "lightning_landscape.comparison",
    "Detector": "lightning_landscape.diagnosis",
    "diagnose": "lightning_landscape.diagnosis",
    "RunComparison": "lightning_landscape.evidence",
    "Cause": "lightning_landscape.evidence",
    "Evidence": "lightning_landscape.evidence",
    "Finding": "lightning_landscape.evidence",
    "Measurements": "lightning_landscape.evidence",
    "Verdict": "lightning_landscape.evidence",
    "Remedy": "lightning_landscape.remedies",
    "LossSurface": "lightning_landscape.surface",
    "Probe": "lightning_landscape.surface",
    "GradientNorm": "lightning_landscape.metrics",
    "PlateauLength": "lightning_landscape.metrics",
    "GradientNoiseScale": "lightning_landscape.metrics",
    "add_surface": "lightning_landscape.reporting.mesh",
    "landscape_layout": "lightning_landscape.reporting.layout",
    "read_events": "lightning_landscape.reporting.events",
    "LandscapeError": "lightning_landscape.errors",
    "LandscapeWarning": "lightning_landscape.errors",
}

__all__ = ["__version__", *_MODULES, *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lightning_landscape.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
