"""Figures of readings, drawn on matplotlib's Agg canvas, which needs neither pyplot nor a display."""

from lightning_landscape.plots.canvas import render as render
from lightning_landscape.plots.canvas import save as save
from lightning_landscape.plots.canvas import uncollected as uncollected
from lightning_landscape.plots.comparison import barrier_figure as barrier_figure
from lightning_landscape.plots.curvature import descent_figure as descent_figure
from lightning_landscape.plots.curvature import spectrum_figure as spectrum_figure
from lightning_landscape.plots.gradients import gradient_norm_figure as gradient_norm_figure
from lightning_landscape.plots.line import line_figure as line_figure
from lightning_landscape.plots.metrics import metrics_figure as metrics_figure
from lightning_landscape.plots.plane import plane_figure as plane_figure
from lightning_landscape.plots.run_path import run_path_figure as run_path_figure
from lightning_landscape.plots.timeline import loss_figure as loss_figure
from lightning_landscape.plots.trials import trials_figure as trials_figure
from lightning_landscape.plots.verdicts import draw_timeline as draw_timeline
from lightning_landscape.plots.verdicts import timeline_figure as timeline_figure
from lightning_landscape.plots.what_if import what_if_figure as what_if_figure
