"""The data and the texts on figures, and the settings of matplotlib that drawing must not change."""

import contextlib
import gc
import math
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.colors import to_hex

from lightning_landscape.evidence import Cause, Line, Verdict
from lightning_landscape.plots import gradient_norm_figure, line_figure, render, save, timeline_figure, uncollected
from lightning_landscape.plots.canvas import BLUE, VERMILION, short_name

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
NAMES = ["$x_1$", "$", r"a\$b", "<script>alert('x')</script>", "line\nbreak\0", "日本語 🧠", "\ud800", "{0} %s", ""]


def line(*losses, barrier=0.0, anchor="initial", alphas=ALPHAS, monotone=False):
    return Line(anchor, alphas, losses, barrier=barrier, monotone=monotone, samples=64)


def curves(figure):
    """Return the coordinates (x, y) of each curve on the first axes, by its label."""
    return {curve.get_label(): curve.get_xydata().T for curve in figure.axes[0].lines}


def texts_on(figure):
    """Return all texts on the figure, after drawing it."""
    render(figure)
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def healthy(step):
    """Return a line on which the loss falls, the more the later the step."""
    return line(*(2.0 - alpha * step / 100 for alpha in ALPHAS), monotone=True)


@pytest.fixture(autouse=True)
def the_settings_of_matplotlib_are_unchanged():
    before = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_the_newest_curve_is_strong_and_older_curves_are_fainter():
    *older, newest = line_figure([(step, healthy(step)) for step in (20, 60, 40, 80)]).axes[0].lines
    assert newest.get_label() == "line to step 80"
    assert to_hex(newest.get_color()) == BLUE.lower()
    assert all(newest.get_linewidth() > other.get_linewidth() for other in older)
    faintness = [other.get_alpha() for other in older]
    assert faintness == sorted(faintness)
    assert [other.get_ydata()[4] for other in older] == pytest.approx([-0.2, -0.4, -0.6])


def test_lines_of_different_batches_begin_at_the_same_height():
    easy, hard = (line(*(level - alpha for alpha in ALPHAS)) for level in (2.302, 2.322))
    first, second = line_figure([(10, easy), (20, hard)]).axes[0].lines
    assert first.get_ydata()[0] == second.get_ydata()[0] == 0
    assert first.get_ydata() == pytest.approx(second.get_ydata())


def test_the_largest_rise_is_marked_above_the_lowest_loss_before_it():
    figure = line_figure([(7, line(2.0, 1.5, 3.0, 2.0, 1.0, 0.9))])
    assert curves(figure)["rise by 1.5"].tolist() == [[0.5, 0.5], [-0.5, 1.0]]
    assert curves(figure)["lowest loss before the rise"].tolist() == [[0.25, 0.5], [-0.5, -0.5]]
    assert "The loss rises by 1.5 on the way from the initial weights to step 7" in texts_on(figure)


def test_no_rise_is_marked_on_a_loss_that_only_falls_however_it_falls():
    for losses in ((2.0, 1.9, 1.7, 1.2, 0.1, 0.0), (2.0, 0.9, 0.5, 0.2, 0.1, 0.0)):
        figure = line_figure([(80, line(*losses))])
        assert list(curves(figure)) == ["line to step 80"]
        assert "The loss falls by 1.9 (95%) from the initial weights to step 80" in texts_on(figure)
        assert "it never rises on the way" in texts_on(figure)


def test_the_part_beyond_the_weights_of_the_step_is_shaded_and_explained():
    beyond = line_figure([(80, healthy(80))])
    until_now = line_figure([(80, line(2.0, 1.0, alphas=(0.0, 1.0)))])
    assert "grey: straight on beyond step 80" in texts_on(beyond)
    assert beyond.axes[0].patches[0].get_x() == 1
    assert not until_now.axes[0].patches


def test_the_title_names_the_steps_at_both_ends():
    middle = Line("best", ALPHAS, (2.0, 1.8, 1.6, 1.4, 1.0, 0.9), 0.0, monotone=True, samples=8, anchor_step=4999)
    assert "The loss falls by 1 (50%) from step 4,999 to step 28,400" in texts_on(line_figure([(28400, middle)]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e308])
def test_a_loss_that_is_not_finite_is_a_gap_with_a_note(bad):
    figure = line_figure([(7, line(2.0, 1.8, bad, 1.4, 1.0, bad))])
    drawn = curves(figure)
    assert np.isnan(drawn["line to step 7"][1]).tolist() == [False, False, True, False, False, True]
    assert drawn["not finite"][0].tolist() == [0.5, 1.25]
    assert "not finite at 2 of 6 points" in texts_on(figure)


def test_a_line_without_any_finite_loss_says_so():
    figure = line_figure([(7, line(*[math.nan] * 6, barrier=math.nan))])
    assert "no finite loss on this line" in texts_on(figure)
    assert "The loss is not finite at the initial weights and at step 7" in texts_on(figure)


def test_where_the_loss_at_the_start_is_not_finite_the_losses_themselves_are_drawn():
    figure = line_figure([(5, healthy(50)), (7, line(math.nan, 1.8, 1.6, 1.4, 1.0, 0.9))])
    assert curves(figure)["line to step 7"][1][1:].tolist() == [1.8, 1.6, 1.4, 1.0, 0.9]
    assert figure.axes[0].get_ylabel() == "loss"
    assert "1 of 2 lines drawn" in texts_on(figure)


def test_an_older_line_of_another_size_does_not_squeeze_the_newest():
    figure = line_figure([(1, line(1e6, 1e5, 1e4, 1e3, 1e2, 1e2)), (2, line(1.0, 0.9, 0.8, 0.7, 0.6, 0.5))])
    low, high = figure.axes[0].get_ylim()
    assert -1 < low < -0.5
    assert 0 < high < 1
    assert "1 older line leaves the frame" in texts_on(figure)


@pytest.mark.parametrize("place", [1, 2, 5], ids=["near the start", "in the middle", "beyond the step"])
def test_a_spike_lies_beyond_the_frame_with_a_mark_and_a_note(place):
    losses = [-1.0, -0.9, -0.8, -0.7, -0.6, -0.5]
    losses[place] = 1e30
    figure = line_figure([(1, line(*losses)), (2, line(-1, -1.1, -1.2, -1.3, -1.4, -1.5))][:1])
    low, high = figure.axes[0].get_ylim()
    assert -0.2 < low < 0.4 < high < 0.8
    assert "1 value lies above the frame, up to 1e+30" in texts_on(figure)
    (mark,) = [drawn for drawn in figure.axes[0].lines if drawn.get_marker() == "^"]
    assert mark.get_xdata() == [ALPHAS[place]]


@pytest.mark.parametrize("level", [0.0, 2.3, -2.3, 1e6, 1e-6])
def test_a_plateau_looks_flat(level):
    figure = line_figure([(7, line(*(level * (1 + 1e-9 * i) for i in range(6))))])
    low, high = figure.axes[0].get_ylim()
    assert low < 0 < high
    assert high - low > 0.99e-4 * abs(level)
    assert "The loss stays the same from the initial weights to step 7" in texts_on(figure)


def test_of_many_curves_twelve_are_drawn_with_first_and_last_among_them():
    figure = line_figure([(step, healthy(step % 90)) for step in range(1000)])
    assert len(figure.axes[0].lines) == 12
    assert {"line to step 0", "line to step 999"} <= curves(figure).keys()
    assert "12 of 1000 lines drawn" in texts_on(figure)


def test_lines_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="at least one line"):
        line_figure([])
    with pytest.raises(ValueError, match=r"one anchor, got \['best', 'initial'\]"):
        line_figure([(1, healthy(1)), (2, line(*[1.0] * 6, anchor="best"))])


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn_and_none_is_parsed_as_mathtext(name):
    for figure in (
        line_figure([(1, line(*[1.0] * 6, anchor=name))]),
        gradient_norm_figure([1, 2], [name, "other"], [[1, 2], [3, 4]]),
    ):
        render(figure)
        label = short_name(name.replace("\\", "/").rpartition("/")[2] or name, 24)
        shown = [text.get_text() for text in figure.findobj(mpl.text.Text)]
        assert any(label in text for text in shown)
        assert not any(mpl.cbook.is_math_text(text) for text in shown)


def cells(figure):
    """Return the two layers of the heat map: norms on the colour scale, and marks (0: zero, 1: not finite)."""
    measured, marks = (mesh.get_array() for mesh in figure.axes[0].collections)
    return measured, marks


def test_the_heat_map_shows_groups_from_top_to_bottom_and_steps_from_left_to_right():
    figure = gradient_norm_figure([10, 20, 30], ["stem", "head"], [[1, 10], [2, 20], [4, 40]])
    axes = figure.axes[0]
    measured, _ = cells(figure)
    assert np.allclose(measured, [[1, 2, 4], [10, 20, 40]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["stem", "head"]
    assert axes.get_ylim() == (1.5, -0.5)
    assert axes.get_xlim() == (5, 35)
    assert axes.get_xlabel() == "optimizer step"
    assert figure.axes[1].get_ylabel() == "gradient norm before clipping"


def test_the_colours_are_logarithmic_in_the_norm():
    mesh = gradient_norm_figure([1, 2, 3], ["all"], [[1e-4], [1e-2], [1.0]]).axes[0].collections[0]
    assert mesh.norm(1e-2) == pytest.approx(0.5)
    assert (mesh.norm.vmin, mesh.norm.vmax) == pytest.approx((1e-4, 1.0))


def test_zero_and_not_finite_have_colours_and_legend_entries_of_their_own():
    figure = gradient_norm_figure([1, 2, 3], ["a", "b"], [[1, 0], [math.nan, 0], [math.inf, 2]])
    measured, marks = cells(figure)
    assert np.ma.getmaskarray(measured).tolist() == [[False, True, True], [True, True, False]]
    assert marks.filled(-1).tolist() == [[-1, 1, 1], [0, 0, -1]]
    colours = {text.get_text(): to_hex(patch.get_facecolor()) for text, patch in _legend_entries(figure)}
    assert colours["not finite"] == VERMILION.lower()
    assert colours["exactly zero"] != colours["not finite"]
    assert "not finite in 2 of 3 columns" in texts_on(figure)


def _legend_entries(figure):
    legend = figure.legends[0]
    return zip(legend.get_texts(), legend.get_patches(), strict=True)


@pytest.mark.parametrize("value", [0.0, math.nan, 1e-320, 1e300, 2.5])
def test_a_map_of_one_value_is_drawn(value):
    assert render(gradient_norm_figure([5], ["all"], [[value]])).shape == (400, 640, 3)


def test_one_extreme_norm_does_not_hide_the_differences_of_the_others():
    norms = [[1.0], [2.0], [1e30], [1.5], [1e-40]]
    mesh = gradient_norm_figure(range(5), ["all"], norms).axes[0].collections[0]
    assert mesh.norm(2.0) - mesh.norm(1.0) > 0.02
    assert mesh.colorbar.extend == "both"


def test_of_more_than_200_steps_a_column_shows_the_largest_norm_of_those_that_share_it():
    figure = gradient_norm_figure(range(400), ["all"], [[1.0], [100.0]] * 200)
    measured, _ = cells(figure)
    assert measured.shape == (1, 200)
    assert np.allclose(measured, 100.0)
    assert "200 columns, largest norms" in texts_on(figure)


def test_a_shared_column_shows_that_one_of_its_norms_is_not_finite():
    norms = np.ones((4000, 1))
    norms[1234] = math.nan
    _, marks = cells(gradient_norm_figure(range(4000), ["all"], norms))
    assert marks.compressed().tolist() == [1]


def test_more_than_32_groups_share_rows_by_the_norm_of_their_union():
    figure = gradient_norm_figure([1], [f"layer{i}" for i in range(64)], [[3.0, 4.0] * 32])
    measured, _ = cells(figure)
    assert measured.shape == (32, 1)
    assert np.allclose(measured, 5.0)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "layer0 – layer1"


def test_ten_thousand_groups_share_32_rows():
    figure = gradient_norm_figure([1, 2], [f"blocks.{i}.weight" for i in range(10_000)], np.full((2, 10_000), 0.1))
    assert render(figure).shape[1] == 640
    assert "10,000 groups in 32 rows" in texts_on(figure)


def test_long_names_lose_their_common_module_path():
    names = [f"model.encoder.layers.{i}.attention" for i in range(3)]
    figure = gradient_norm_figure([1], names, [[1, 2, 3]])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [f"…{i}.attention" for i in range(3)]


def test_steps_may_be_irregular_and_of_a_repeated_step_the_later_norms_are_shown():
    figure = gradient_norm_figure([0, 10, 100, 10], ["all"], [[1], [2], [3], [9]])
    measured, _ = cells(figure)
    assert np.allclose(measured, [[1, 9, 3]])
    assert figure.axes[0].get_xlim() == (-5, 145)


@pytest.mark.parametrize(("steps", "groups", "norms"), [([], [], []), ([1], ["a"], [[1, 2]]), ([1, 2], ["a"], [[1]])])
def test_norms_of_another_shape_are_refused(steps, groups, norms):
    with pytest.raises(ValueError, match="got shape"):
        gradient_norm_figure(steps, groups, norms)


def test_render_gives_colours_at_the_size_of_a_tensorboard_card():
    pixels = render(line_figure([(80, healthy(80))]))
    assert pixels.shape == (400, 640, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags["C_CONTIGUOUS"]
    assert (pixels == [0, 0x72, 0xB2]).all(axis=-1).any()


def test_the_users_style_neither_changes_the_figure_nor_is_changed():
    plain = render(line_figure([(80, healthy(80))]))
    with style.context(["dark_background", {"font.size": 30, "figure.dpi": 30}]):
        assert (render(line_figure([(80, healthy(80))])) == plain).all()
        assert mpl.rcParams["font.size"] == 30


def test_save_writes_the_figure_and_no_other_file(tmp_path):
    figure = line_figure([(80, healthy(80))])
    save(figure, tmp_path / "deep" / "line.png")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["line.png"]
    saved = (255 * mpl.image.imread(tmp_path / "deep" / "line.png")[..., :3]).round().astype(np.uint8)
    assert (saved == render(figure)).all()


def test_a_failed_save_leaves_the_existing_file(tmp_path, monkeypatch):
    figure = line_figure([(80, healthy(80))])
    target = tmp_path / "line.png"
    target.write_text("older")

    def fill_the_disk(path, **_):
        path.write_text("half a pic")
        raise OSError("no space left on device")

    monkeypatch.setattr(figure, "savefig", fill_the_disk)
    with pytest.raises(OSError, match="no space left"):
        save(figure, target)
    assert [path.name for path in tmp_path.iterdir()] == ["line.png"]
    assert target.read_text() == "older"


def test_no_display_is_needed_and_pyplot_is_not_loaded():
    program = """
import sys
from lightning_landscape.evidence import Line
from lightning_landscape.plots import line_figure, render
print(render(line_figure([(1, Line("initial", (0.0, 1.0), (2.0, 1.0), 0.0, True, 1))])).shape)
assert "matplotlib.pyplot" not in sys.modules and "tkinter" not in sys.modules
"""
    environment = {**os.environ, "MPLBACKEND": "TkAgg", "DISPLAY": ""}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "(400, 640, 3)\n"), result.stderr


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_suspended_and_restored(enabled):
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with contextlib.suppress(RuntimeError), uncollected():
            assert not gc.isenabled()
            raise RuntimeError("in the middle of it")
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if before else gc.disable()


def test_the_timeline_shows_gaps_for_losses_that_are_not_finite_a_line_for_each_verdict_and_the_names_of_states():
    stuck = Verdict(Cause.SADDLE_POINT, 60, 40, stuck=True, reason="")
    segments = [(0, "learning"), (50, "stalled"), (60, "saddle_point")]
    figure = timeline_figure(range(100), [*[2.0] * 98, None, math.nan], segments, [stuck])
    axes = figure.axes[0]
    assert np.isnan(axes.lines[0].get_ydata()).sum() == 2
    assert axes.lines[1].get_xdata()[0] == 60
    assert "not finite at 2 of 100 points" in texts_on(figure)
    assert {"learning", "saddle point"} <= {text.get_text() for text in axes.texts}
    assert render(figure).shape == (340, 640, 3)


def test_the_timeline_shades_the_area_between_the_lowest_and_the_highest_loss_and_a_spike_leaves_the_frame():
    lows, highs = [1.5] * 100, [2.5] * 100
    highs[40] = 1e6
    figure = timeline_figure(range(100), [2.0] * 100, [(0, "learning")], ranges=(lows, highs))
    low, high = figure.axes[0].get_ylim()
    assert 1 < low < 1.5
    assert 2.5 < high < 3
    assert "1 value lies above the frame, up to 1e+06" in texts_on(figure)
    assert "light area: lowest to highest loss" in texts_on(figure)


def test_the_timeline_of_a_run_that_is_not_judged_does_not_claim_that_there_was_no_alarm():
    figure = timeline_figure(range(100), [2.0] * 100, [(0, "not_judged")])
    assert "no alarm" not in texts_on(figure)
    assert "not judged" in {text.get_text() for text in figure.axes[0].texts}


def test_a_timeline_without_steps_is_refused_and_one_of_a_single_step_is_drawn():
    with pytest.raises(ValueError, match="got 0, 0"):
        timeline_figure([], [], [])
    with pytest.raises(ValueError, match="got 2, 1"):
        timeline_figure([1, 2], [1.0], [])
    assert render(timeline_figure([0], [2.0], [(0, "learning")])).shape == (340, 640, 3)
