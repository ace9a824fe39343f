"""The data types of a diagnosis: readings, evidence, causes and verdicts.

A reading is a frozen dataclass of plain numbers that a probe or the monitor has measured. `Evidence` holds readings by
their type, so a reading class of your own needs no registration. A `Verdict` is drawn from evidence. This package
imports the standard library only: no torch, no Lightning and no TensorBoard.
"""

from lightning_landscape.evidence.before import BeforeAndAfter as BeforeAndAfter
from lightning_landscape.evidence.before import WeightHistory as WeightHistory
from lightning_landscape.evidence.causes import CAUSES as CAUSES
from lightning_landscape.evidence.causes import TONES as TONES
from lightning_landscape.evidence.causes import Cause as Cause
from lightning_landscape.evidence.comparison import RunComparison as RunComparison
from lightning_landscape.evidence.curvature import Curvature as Curvature
from lightning_landscape.evidence.curvature import Descent as Descent
from lightning_landscape.evidence.curvature import Plane as Plane
from lightning_landscape.evidence.curvature import Spectrum as Spectrum
from lightning_landscape.evidence.data import BatchContents as BatchContents
from lightning_landscape.evidence.data import EntryContents as EntryContents
from lightning_landscape.evidence.data import LinearFit as LinearFit
from lightning_landscape.evidence.findings import WEIGHTS as WEIGHTS
from lightning_landscape.evidence.findings import Finding as Finding
from lightning_landscape.evidence.finiteness import NotFinite as NotFinite
from lightning_landscape.evidence.kinds import short_name as short_name
from lightning_landscape.evidence.kinds import stored_name as stored_name
from lightning_landscape.evidence.measurements import Measurements as Measurements
from lightning_landscape.evidence.measurements import merged as merged
from lightning_landscape.evidence.metric import MetricTrend as MetricTrend
from lightning_landscape.evidence.outputs import BestConstant as BestConstant
from lightning_landscape.evidence.outputs import Outputs as Outputs
from lightning_landscape.evidence.outputs import OutputSpread as OutputSpread
from lightning_landscape.evidence.parts import Clipping as Clipping
from lightning_landscape.evidence.parts import HeldTensors as HeldTensors
from lightning_landscape.evidence.parts import KeptGradients as KeptGradients
from lightning_landscape.evidence.parts import LostGradients as LostGradients
from lightning_landscape.evidence.parts import OptimizerGroup as OptimizerGroup
from lightning_landscape.evidence.parts import Part as Part
from lightning_landscape.evidence.parts import Parts as Parts
from lightning_landscape.evidence.players import Player as Player
from lightning_landscape.evidence.players import Players as Players
from lightning_landscape.evidence.readings import Activity as Activity
from lightning_landscape.evidence.readings import Divergence as Divergence
from lightning_landscape.evidence.readings import GradientNoise as GradientNoise
from lightning_landscape.evidence.readings import GradientScale as GradientScale
from lightning_landscape.evidence.readings import Line as Line
from lightning_landscape.evidence.readings import LossFloor as LossFloor
from lightning_landscape.evidence.readings import LossLevel as LossLevel
from lightning_landscape.evidence.readings import Plateau as Plateau
from lightning_landscape.evidence.readings import UpdateStatistics as UpdateStatistics
from lightning_landscape.evidence.readings_log import ReadingsLog as ReadingsLog
from lightning_landscape.evidence.restarts import Restart as Restart
from lightning_landscape.evidence.restarts import RestartedRun as RestartedRun
from lightning_landscape.evidence.run_path import RunPath as RunPath
from lightning_landscape.evidence.same_batches import SameBatches as SameBatches
from lightning_landscape.evidence.schedule import Schedule as Schedule
from lightning_landscape.evidence.schedule import Scheduler as Scheduler
from lightning_landscape.evidence.schedule import Schedulers as Schedulers
from lightning_landscape.evidence.serialization import checked as checked
from lightning_landscape.evidence.serialization import from_builtins as from_builtins
from lightning_landscape.evidence.serialization import shown as shown
from lightning_landscape.evidence.serialization import to_builtins as to_builtins
from lightning_landscape.evidence.trend import Trend as Trend
from lightning_landscape.evidence.trials import Alternatives as Alternatives
from lightning_landscape.evidence.trials import InputUse as InputUse
from lightning_landscape.evidence.trials import StartingPoint as StartingPoint
from lightning_landscape.evidence.trials import Symmetry as Symmetry
from lightning_landscape.evidence.trials import Trials as Trials
from lightning_landscape.evidence.verdict import Evidence as Evidence
from lightning_landscape.evidence.verdict import Verdict as Verdict
from lightning_landscape.evidence.what_if import Course as Course
from lightning_landscape.evidence.what_if import WhatIf as WhatIf
from lightning_landscape.evidence.wiring import Wiring as Wiring
