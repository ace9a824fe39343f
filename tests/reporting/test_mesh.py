"""The surface of a plane has the right heights and the path of the run, and TensorBoard reads it."""

import math

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from lightning_landscape import add_surface
from lightning_landscape.evidence import Plane
from lightning_landscape.reporting.mesh import PATH_COLOUR, SIDE, surface_mesh

AXIS = tuple(np.linspace(-1, 1, 5).tolist())


def plane(loss):
    losses = tuple(tuple(float(loss(x, y)) for x in AXIS) for y in AXIS)
    return Plane("x", "y", AXIS, AXIS, losses, {"initial": (-0.5, 0.5), "now": (0.0, 0.0)}, 0.0, 8)


def on_path(colours):
    return (colours == PATH_COLOUR).all(-1)


def test_the_triangles_use_every_vertex_but_the_last():
    vertices, colours, triangles = surface_mesh(plane(lambda x, y: x * x + y * y))
    assert vertices.shape == colours.shape == (SIDE * SIDE + 1, 3)
    assert triangles.shape == (2 * (SIDE - 1) ** 2, 3)
    assert (triangles.min(), triangles.max()) == (0, SIDE * SIDE - 1)
    assert len(np.unique(np.sort(triangles, axis=1), axis=0)) == len(triangles)


def test_a_higher_loss_is_higher_on_the_screen_and_has_another_colour():
    up, colours, _ = surface_mesh(plane(lambda x, y: x + y))
    flat, _, _ = surface_mesh(plane(lambda x, y: 1.0))
    rise = (up - up[0])[:-1, 1] - (flat - flat[0])[:-1, 1]
    diagonal = np.arange(SIDE) * (SIDE + 1)
    assert (np.diff(rise[diagonal]) > 0).all()
    assert tuple(colours[0]) != tuple(colours[SIDE * SIDE - 1])


def test_the_path_is_drawn_from_the_first_point_of_the_run_to_the_last_and_nowhere_else():
    _, colours, _ = surface_mesh(plane(lambda x, y: x * x))
    rows, columns = np.nonzero(on_path(colours)[:-1].reshape(SIDE, SIDE))
    places = np.stack([columns, rows], -1) / (SIDE - 1) * 2 - 1
    assert len(places) > SIDE / 5
    assert np.abs(places.sum(-1)).max() < 0.1  # on the line from (-0.5, 0.5) to (0, 0)
    assert places[:, 0].min() == pytest.approx(-0.5, abs=0.05)
    assert places[:, 0].max() == pytest.approx(0.0, abs=0.05)


def test_losses_that_are_not_finite_have_a_finite_height_and_a_plane_with_no_other_is_refused():
    vertices, _, _ = surface_mesh(plane(lambda x, y: math.inf if x > 0.9 else x))
    assert np.isfinite(vertices).all()
    with pytest.raises(ValueError, match="at least one finite loss"):
        surface_mesh(plane(lambda x, y: math.nan))


def test_tensorboard_reads_the_surface_and_its_size_is_bounded(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        add_surface(writer, plane(lambda x, y: x * x + y), 120)
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.PluginTagToContent("mesh")) == {
        f"landscape/surface_{part}" for part in ("VERTEX", "FACE", "COLOR")
    }
    assert [event.step for event in events.Tensors("landscape/surface_VERTEX")] == [120]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 320_000
