"""Readings as the Landscape tab and the report draw them: their fields, their captions, and what is marked in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.captions import (
    GOING_ON,
    SMALL_RISE,
    Caption,
    best_words,
    caption_of,
    distinct_anchors,
    end_name,
    is_lower,
    lowest_point,
    metric_chart,
    rise_of,
    since_words,
    start_name,
    trial_chart,
)
from lightning_landscape.evidence import Evidence, Line, Plane, to_builtins


def drawn(step: int, reading: object) -> dict[str, Any]:
    """Return a reading of this optimizer step as JSON, with its caption and with what its picture marks."""
    return {"step": step, **to_builtins(reading), **titled(caption_of(reading, step)), **_marked(step, reading)}


def drawn_lines(lines: Mapping[str, Sequence[tuple[int, Line]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the lines by their anchors, without the anchors whose newest line is that of an anchor before them."""
    return {anchor: [drawn(step, line) for step, line in lines[anchor]] for anchor in distinct_anchors(lines)}


def drawn_trials(evidence: Evidence | None) -> dict[str, Any]:
    """Return the trials in the evidence as the field "trials"; nothing where there were none."""
    chart = None if evidence is None else trial_chart(evidence)
    return (
        {}
        if chart is None
        else {"trials": {**titled(chart.caption), "baseline": GOING_ON, "groups": to_builtins(chart)["groups"]}}
    )


def drawn_metrics(
    metrics: Sequence[Mapping[str, Any]], steps: Sequence[int], losses: Sequence[float | None]
) -> dict[str, Any]:
    """Return the metrics of a run, as for `captions.metric_chart`, as JSON; empty where none was logged."""
    chart = metric_chart(metrics, steps, losses)
    if chart is None:
        return {}
    panels = [
        {
            "training": panel.training,
            "axis": panel.axis,
            "frame": panel.frame,
            "beyond": panel.beyond,
            "metrics": [
                {**to_builtins(curve), "best_words": best_words(curve), "since_words": since_words(curve)}
                for curve in panel.curves
            ],
        }
        for panel in chart.panels
    ]
    return {**titled(chart.caption), "panels": panels, "omitted": chart.omitted}


def titled(caption: Caption | None) -> dict[str, Any]:
    """Return the title of a picture, and the texts for the line below it; nothing for a reading without a picture."""
    return {} if caption is None else {"title": caption.title, "details": [*caption.details]}


def _marked(step: int, reading: object) -> dict[str, Any]:
    if isinstance(reading, Line):
        rise = rise_of(reading, SMALL_RISE)
        marked = None if rise is None else {**to_builtins(rise), "words": rise.words}
        return {"start": start_name(reading), "end": end_name(step), "rise": marked}
    if isinstance(reading, Plane):
        lowest = lowest_point(reading)
        return {"lowest": [*lowest[:2]] if lowest is not None and is_lower(reading) else None}
    return {}
