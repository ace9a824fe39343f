"""Callbacks for PyTorch Lightning that tell you why a training run is stuck.

The public names are loaded on first use [PEP 562], so that TensorBoard can import this package without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "LandscapeMonitor": "lightning_landscape.callbacks",
    "GradientNormMonitor": "lightning_landscape.callbacks",
    "PlateauMonitor": "lightning_landscape.callbacks",
    "LossInterpolationMonitor": "lightning_landscape.callbacks",
    "CurvatureMonitor": "lightning_landscape.callbacks",
    "last_report": "lightning_landscape.callbacks",
    "compare_runs": "lightning_landscape.comparison",
    "RunComparison": "lightning_landscape.evidence",
    "Cause": "lightning_landscape.evidence",
    "Evidence": "lightning_landscape.evidence",
    "Verdict": "lightning_landscape.evidence",
    "LossSurface": "lightning_landscape.surface",
    "GradientNorm": "lightning_landscape.metrics",
    "PlateauLength": "lightning_landscape.metrics",
    "GradientNoiseScale": "lightning_landscape.metrics",
    "add_surface": "lightning_landscape.reporting.mesh",
    "landscape_layout": "lightning_landscape.reporting.layout",
    "read_events": "lightning_landscape.reporting.events",
    "LandscapeError": "lightning_landscape.errors",
    "LandscapeWarning": "lightning_landscape.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
