"""Healthy runs of the split `held_out`."""

from __future__ import annotations

from benchmarks.stuck_runs.held_out import measurements, structures
from benchmarks.stuck_runs.problem import healthy

HEALTHY = (
    healthy("power_law", 2000, "power law", measurements.power_law),
    healthy("weak_signal", 1500, "noise floor", measurements.weak_signal),
    healthy("drifting_target", 2000, "level shift", measurements.drifting_target),
    healthy("survival", 1500, "noise floor", measurements.survival),
    healthy("wine_margins", 1500, "schedule", measurements.margins, future=1.2),
    healthy("one_at_a_time", 3000, "noisy", measurements.one_at_a_time),
    healthy("absolute_error", 1500, "noise floor", measurements.absolute_error),
    healthy("interpolation", 2500, "minimum", measurements.interpolation),
    healthy("rare_class", 2000, "noisy", measurements.rare_class),
    healthy("largest_of_a_set", 2000, "improving", measurements.largest_of_a_set),
    healthy("outlying_targets", 1500, "noise floor", measurements.outlying_targets),
    healthy("skip_gram", 2000, "noise floor", structures.skip_gram),
    healthy("inverse_problem", 2000, "schedule", structures.inverse_problem, future=1.2),
    healthy("graph", 800, "noisy", structures.graph),
    healthy("oscillator", 1500, "improving", structures.oscillator),
    healthy("denoiser", 2500, "noise floor", structures.denoiser),
    healthy("forecaster", 1200, "noise floor", structures.forecaster),
    healthy("segmentation", 1200, "schedule", structures.segmentation),
    healthy("counting", 2000, "noisy", structures.counting),
    healthy("distillation", 2000, "schedule", structures.distillation, future=1.2),
    healthy("adapters", 1500, "improving", structures.adapters),
    healthy("triplets", 1500, "noisy", structures.triplets),
    healthy("long_reading", 1500, "schedule", structures.long_reading, future=1.2),
    healthy("long_looking", 1500, "schedule", structures.long_looking, future=1.2),
    healthy("temporal_difference", 1500, "minimum", structures.temporal_difference),
)
