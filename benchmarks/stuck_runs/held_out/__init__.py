"""The split `held_out`, by which the verdicts are judged: nothing may be tuned on these configurations."""

from __future__ import annotations

from benchmarks.stuck_runs.held_out.divergent import DIVERGENT
from benchmarks.stuck_runs.held_out.flats import FLAT
from benchmarks.stuck_runs.held_out.healthy import HEALTHY
from benchmarks.stuck_runs.held_out.poor_minima import POOR_MINIMA
from benchmarks.stuck_runs.held_out.rates import TOO_LARGE, TOO_SMALL
from benchmarks.stuck_runs.held_out.saddles import SADDLES
from benchmarks.stuck_runs.held_out.unlearnable import UNLEARNABLE
from benchmarks.stuck_runs.held_out.unmoved import UNMOVED

MEANT_TO_BE_STUCK = (*SADDLES, *FLAT, *POOR_MINIMA, *TOO_SMALL, *TOO_LARGE, *UNMOVED, *UNLEARNABLE, *DIVERGENT)
HELD_OUT = (*HEALTHY, *MEANT_TO_BE_STUCK)
