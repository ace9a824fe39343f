"""Readings as figures: matplotlib's object-oriented interface with Agg, so neither pyplot nor a display is touched."""

from lightning_landscape.plots.canvas import render as render
from lightning_landscape.plots.canvas import save as save
from lightning_landscape.plots.gradients import gradient_norm_figure as gradient_norm_figure
from lightning_landscape.plots.line import line_figure as line_figure
from lightning_landscape.plots.timeline import timeline_figure as timeline_figure
