"""The loss on lines through surfaces in closed form, where every value is known."""

import math

import pytest
import torch

from lightning_landscape.probes.line import LossLine
from lightning_landscape.surface import LossSurface, RunContext


def valley(point):
    """½(ab - 1)²: minima along ab = 1, a saddle at the origin between its two branches."""
    return 0.5 * (point["a"] * point["b"] - 1) ** 2


def at(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def surface(loss, here, **anchors):
    return LossSurface(loss=loss, here=here, anchors=anchors, run=RunContext(samples=8))


def test_between_the_two_branches_of_the_valley_the_barrier_is_exactly_a_half():
    line = LossLine()(surface(valley, at(a=-1.0, b=-1.0), initial=at(a=1.0, b=1.0)))
    assert line.barrier == 0.5
    assert line.losses[5] == 0.5
    assert line.losses[0] == line.losses[10] == 0
    assert not line.monotone
    assert (line.anchor, line.samples, len(line.alphas)) == ("initial", 8, 12)


def test_the_position_beyond_the_end_does_not_count_for_the_barrier():
    line = LossLine(points=3)(surface(valley, at(a=1.0, b=1.0), initial=at(a=0.0, b=0.0)))
    assert line.alphas == (0.0, 0.5, 1.0, 1.5)
    assert line.losses == (0.5, 0.5 * 0.75**2, 0.0, 0.5 * 1.25**2)  # it rises again beyond the minimum
    assert line.monotone
    assert line.barrier == 0  # although at α = ½ the loss is 9/32 and the straight line between the ends 1/4


def test_a_chain_of_linear_layers_falls_all_the_way_to_its_minimum():
    """½(w₁w₂w₃ - 1)² from w = 0.1: along the diagonal it is ½(w³ - 1)²."""

    def chain(point):
        return 0.5 * (point["w"].prod() - 1) ** 2

    line = LossLine()(surface(chain, at(w=[1.0] * 3), initial=at(w=[0.1] * 3)))
    w = [0.1 + 0.9 * alpha for alpha in line.alphas]
    assert line.losses == pytest.approx([0.5 * (x**3 - 1) ** 2 for x in w], rel=1e-5)
    assert line.monotone
    # ½(w³ - 1)² is concave near 0, and so it lies above the straight line between its ends by up to a quarter.
    rises = [loss - (1 - alpha) * line.losses[0] for loss, alpha in zip(line.losses, line.alphas[:11], strict=False)]
    assert max(rises) > 0.1
    assert line.barrier == 0


def test_beyond_the_lowest_point_of_a_parabola_the_rise_is_that_of_the_end_above_it():
    parabola = surface(lambda p: (p["w"] ** 2).sum(), at(w=[1.0, -2.0]), left=at(w=[-3.0, 4.0]))
    line = LossLine("left")(parabola)
    assert line.barrier == pytest.approx(line.losses[10] - min(line.losses))
    assert not line.monotone  # it falls to the minimum at α = 0.69 and then rises


def test_the_line_knows_the_step_of_its_anchor_where_the_run_does():
    known = LossSurface(
        loss=valley,
        here=at(a=1.0, b=1.0),
        anchors={"best": at(a=0.0, b=0.0)},
        run=RunContext(anchor_steps={"best": 40}),
    )
    assert LossLine("best")(known).anchor_step == 40
    assert LossLine()(surface(valley, at(a=1.0, b=1.0), initial=at(a=0.0, b=0.0))).anchor_step is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_inside_the_line_is_kept_and_makes_the_barrier_infinite(bad):
    def hole(point):
        w = point["w"]
        return torch.where(w.abs() < 0.1, torch.tensor(bad), w**2)

    line = LossLine()(surface(hole, at(w=-1.0), initial=at(w=1.0)))
    assert [math.isfinite(loss) for loss in line.losses] == [True] * 5 + [False] + [True] * 6
    assert line.barrier == math.inf
    assert not line.monotone


@pytest.mark.parametrize("end", ["here", "anchor"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_with_an_end_that_is_not_finite_the_barrier_is_nan(end, bad):
    here, anchor = (bad, 1.0) if end == "here" else (1.0, bad)
    line = LossLine()(surface(lambda p: p["w"] ** 2, at(w=here), initial=at(w=anchor)))
    assert math.isnan(line.barrier)
    assert not line.monotone


def test_without_the_anchor_there_is_no_reading_and_no_evaluation():
    def never(point):
        raise AssertionError("evaluated")

    assert LossLine("best")(surface(never, at(w=1.0), initial=at(w=0.0))) is None


@pytest.mark.parametrize("points", [3, 11])
def test_the_cost_is_one_evaluation_for_each_point_and_one_more(points):
    seen = []

    def counted(point):
        assert not torch.is_grad_enabled()
        seen.append(point["w"].item())
        return point["w"]

    LossLine(points=points)(surface(counted, at(w=1.0), initial=at(w=0.0)))
    assert seen == pytest.approx([i / (points - 1) for i in range(points + 1)])


def test_an_anchor_may_have_another_precision():
    line = LossLine()(surface(lambda p: p["w"] ** 2, at(w=1.0), initial={"w": torch.tensor(2.0, dtype=torch.bfloat16)}))
    assert line.losses[0] == 4.0


def test_losses_of_low_precision_are_not_changed():
    line = LossLine(points=3)(surface(lambda p: p["w"].bfloat16(), at(w=0.0), initial=at(w=1.0)))
    assert line.losses == (1.0, 0.5, 0.0, -0.5)


@pytest.mark.parametrize("points", [2, 0, -5])
def test_too_few_points_are_refused_at_once(points):
    with pytest.raises(ValueError, match=f"got {points}"):
        LossLine(points=points)


def test_its_repr_shows_its_settings():
    assert repr(LossLine("best", 5)) == "LossLine(anchor='best', points=5)"
