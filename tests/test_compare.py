"""Runs side by side: barriers between checkpoints, the basins they share, the figure and the command."""

import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LossSurface, RunComparison, compare_runs
from lightning_landscape.command_line import main
from lightning_landscape.comparison import compare_points
from lightning_landscape.errors import CheckpointError, SurfaceError
from lightning_landscape.plots import barrier_figure, loss_figure, render

HERE = Path(__file__)


class Net(L.LightningModule):
    def __init__(self, width=12):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 3)
        )
        self.register_buffer("shift", torch.zeros(1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0] + self.shift), batch[1])
        self.log("train_loss", loss)
        assert self.trainer.world_size == 1
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


class Data(L.LightningDataModule):
    def setup(self, stage):
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(320, 4, generator=generator)
        self.samples = TensorDataset(inputs, inputs[:, :3].argmax(1))

    def train_dataloader(self):
        return DataLoader(self.samples, batch_size=32, shuffle=True)


def some_batches():
    data = Data()
    data.setup("fit")
    return list(DataLoader(data.samples, batch_size=80))


def needs_arguments(path):
    return path


def no_batches():
    return 7


def trainer(**settings):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return L.Trainer(**(quiet | {"accelerator": "cpu", "max_epochs": 8} | settings))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the checkpoints of a run, of a branch that continues it, and of a run from another seed."""
    folder = tmp_path_factory.mktemp("runs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, seed in (("a", 0), ("c", 1)):
            L.seed_everything(seed, verbose=False)
            run = trainer()
            run.fit(Net(), datamodule=Data())
            run.save_checkpoint(folder / f"{name}.ckpt")
        branch = trainer(max_epochs=9)
        branch.fit(Net(), datamodule=Data(), ckpt_path=folder / "a.ckpt")
        branch.save_checkpoint(folder / "b.ckpt")
    return [folder / f"{name}.ckpt" for name in "abc"]


def state_of(module):
    state = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [part.training for part in module.modules()], [p.requires_grad for p in module.parameters()]
    return state, flags, module._trainer


def assert_same(left, right):
    assert all(torch.equal(left[0][name], right[0][name]) for name in left[0])
    assert left[1:] == right[1:]


# The reading.


def comparison(losses, barriers, **fields):
    n = len(losses)
    matrix = [[0.0] * n for _ in range(n)]
    for (i, j), barrier in barriers.items():
        matrix[i][j] = matrix[j][i] = barrier
    fields = {"samples": 64, "points": 11} | fields
    return RunComparison(tuple("abcdef"[:n]), tuple(losses), tuple(map(tuple, matrix)), **fields)


def test_the_barrier_of_a_double_well_is_its_height_and_its_valleys_are_two_basins():
    wells = {name: {"x": torch.tensor(x)} for name, x in (("left", -1.0), ("right", 1.0), ("near", 1.05))}
    found = compare_points(LossSurface(lambda at: (at["x"] ** 2 - 1) ** 2 + 2, wells["left"], wells))
    assert found.losses == pytest.approx((2.0, 2.0, (1.05**2 - 1) ** 2 + 2))
    assert found.barriers[0][1] == found.barriers[1][0] == pytest.approx(1.0)
    assert found.barriers[1][2] == 0.0
    assert found.basins == (("left",), ("right", "near"))
    assert "share a basin: right and near; 1 run shares no basin with another" in found.sentence()


def test_basins_are_joined_through_a_run_in_between():
    chained = comparison([1.0, 1.0, 1.0], {(0, 1): 0.01, (1, 2): 0.01, (0, 2): 0.9})
    assert chained.basins == (("a", "b", "c"),)
    assert chained.sentence().startswith("All 3 runs share one basin (a barrier of at most 10%")


@pytest.mark.parametrize("barrier", [math.inf, math.nan])
def test_a_barrier_that_is_not_finite_separates_basins(barrier):
    broken = comparison([1.0, math.nan], {(0, 1): barrier})
    assert broken.basins == (("a",), ("b",))
    assert broken.best == "a"
    assert comparison([math.nan, math.inf], {(0, 1): barrier}).best is None


def test_the_markdown_states_the_tolerance_the_losses_and_that_units_are_not_aligned():
    text = comparison(
        [0.5, 0.25, 2.0], {(0, 1): 0.02, (0, 2): 3.0, (1, 2): 4.0}, notes=("Mind the gap.",)
    ).to_markdown()
    assert "These runs share a basin: a and b; 1 run shares no basin with another (a barrier of at most 10% of" in text
    assert "b has the lowest loss." in text
    assert "| 2. b | 0.25 | 0.02 |  | 4 |" in text
    assert "Hidden units are not aligned" in text
    assert text.endswith("- Mind the gap.")


# Checkpoints.


def test_a_run_and_its_branch_share_a_basin_but_another_seed_does_not(runs):
    found = compare_runs(runs, Net(), some_batches(), num_points=7)
    assert found.basins == ((str(runs[0]), str(runs[1])), (str(runs[2]),))
    assert found.barriers[0][2] > 10 * found.barriers[0][1]
    assert found.samples == 320
    assert found.notes == ()


def test_the_loss_at_an_end_is_that_of_the_run_in_evaluation_mode_with_statistics_of_these_batches(runs):
    batches = some_batches()
    found = compare_runs(runs[:2], Net(), batches, num_points=3)
    module = Net.load_from_checkpoint(runs[0], map_location="cpu")
    norm = module.net[1]
    norm.reset_running_stats()
    norm.momentum = None
    with torch.no_grad():
        for inputs, _ in batches:
            module.train().net(inputs)
        module.eval()
        losses = [float(nn.functional.cross_entropy(module.net(x), y)) for x, y in batches]
    assert found.losses[0] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_module_does_not_change(runs, frozen):
    module, batches = Net().eval(), some_batches()[:1]
    module.net[0].requires_grad_(not frozen)
    before, stream = state_of(module), torch.get_rng_state()
    found = compare_runs(runs, module, batches, num_points=3)
    assert_same(before, state_of(module))
    assert torch.equal(stream, torch.get_rng_state())
    # Parameters that are frozen in this module were trained in the runs, so they are compared.
    assert found.barriers == compare_runs(runs, Net(), batches, num_points=3).barriers


def test_a_buffer_that_differs_in_a_checkpoint_is_noted(runs, tmp_path):
    content = torch.load(runs[0], weights_only=True)
    content["state_dict"]["shift"] = torch.ones(1)
    torch.save(content, tmp_path / "other.ckpt")
    found = compare_runs([runs[0], tmp_path / "other.ckpt"], Net(), some_batches(), num_points=3)
    assert found.notes == ("At every point these buffers have the values of the module, not those of the runs: shift.",)


def test_a_step_that_cannot_run_outside_a_fit_raises_and_a_loss_function_replaces_it(runs):
    class Manual(Net):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.optimizers().zero_grad()

    module = Manual()
    before = state_of(module)
    with pytest.raises(SurfaceError, match=r"training_step raised AttributeError.*"):
        compare_runs(runs, module, some_batches())
    assert_same(before, state_of(module))

    def loss_fn(module, batch):
        return nn.functional.cross_entropy(module.net(batch[0]), batch[1])

    found = compare_runs(runs, module, some_batches(), num_points=3, loss_fn=loss_fn)
    assert found.losses == compare_runs(runs, Net(), some_batches(), num_points=3).losses


@pytest.mark.parametrize(
    ("checkpoints", "settings", "message"),
    [
        ([], {}, r"at least two different files, got \[\]"),
        ("a.ckpt", {}, "at least two different files, got 'a.ckpt'"),
        (["a.ckpt", "a.ckpt"], {}, "at least two different files, got"),
        (["a", "b"], {"batches": []}, r"at least one batch, got \[\]"),
        (["a", "b"], {"num_points": 2}, "points must be at least 3.*got 2"),
        (["a", "b"], {"tolerance": 0.0}, "tolerance must be a positive share of the loss, got 0.0"),
    ],
)
def test_a_bad_argument_is_refused_with_its_value(checkpoints, settings, message):
    with pytest.raises(ValueError, match=message):
        compare_runs(checkpoints, Net(), **{"batches": some_batches(), **settings})


def test_a_file_of_another_model_is_refused_with_its_name(runs):
    with pytest.raises(CheckpointError, match=r"a.ckpt belongs to another model: net.0.weight"):
        compare_runs(runs, Net(width=5), some_batches())


# The figures.


@pytest.mark.parametrize(
    "reading",
    [
        comparison([0.5, 0.25, 2.0], {(0, 1): 0.02, (0, 2): 3.0, (1, 2): 4.0}),
        comparison([1.0, math.nan, 1.0], {(0, 1): math.nan, (0, 2): math.inf, (1, 2): math.nan}),
        comparison([0.0, 0.0], {(0, 1): 0.0}),
    ],
    ids=["three", "broken", "zero"],
)
def test_the_heat_map_is_drawn_for_any_reading(reading):
    pixels = render(barrier_figure(reading))
    assert pixels.shape[1] == 640
    assert pixels.std() > 10


def test_the_timeline_merges_marks_of_one_step_and_leaves_gaps_where_the_loss_is_not_finite():
    losses = [(step, math.nan if step == 3 else 100.0 / (step + 1)) for step in range(200)]
    figure = loss_figure({"a run": losses, "another": losses[:5]}, [(50, "verdict"), (50, "Perturb"), (80, "escaped")])
    (axes,) = figure.axes
    labels = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
    assert labels == ["a run", "another", "step 50: verdict, Perturb", "step 80: escaped"]
    assert axes.get_yscale() == "log"
    assert any("not finite at 2 steps" in text.get_text() for text in figure.texts)


def test_a_timeline_without_losses_is_refused():
    with pytest.raises(ValueError, match=r"at least one \(step, loss\) pair, got \['empty'\]"):
        loss_figure({"empty": []})


# The command.


def command(runs, *options, module="Net", data="Data"):
    name = "tests.test_compare"
    return ["compare", *map(str, runs), f"--module={name}:{module}", f"--data={name}:{data}", *options]


def test_the_command_prints_the_comparison_and_saves_the_figure(runs, tmp_path, capsys):
    figure = tmp_path / "barriers.png"
    assert main(command(runs, "--points=5", "--batches=3", f"--figure={figure}")) == 0
    out = capsys.readouterr().out
    assert f"These runs share a basin: {runs[0]} and {runs[1]}" in out
    assert "at 5 points on each line, on 96 samples." in out
    assert figure.stat().st_size > 5000


@pytest.mark.slow
def test_python_m_runs_the_command_without_output_on_stderr(runs):
    arguments = command(runs[:2], "--points=3", "--batches=1", data="some_batches")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "lightning_landscape", *arguments],
        cwd=HERE.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("All 2 runs share one basin")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": "Missing"}, "--module 'tests.test_compare:Missing' cannot be imported"),
        (
            {"module": "some_batches"},
            "some_batches returns a list, not a LightningModule",
        ),
        ({"data": "needs_arguments"}, "--data 'tests.test_compare:needs_arguments' must be callable without arguments"),
        ({"data": "no_batches"}, "--data 'tests.test_compare:no_batches' gives no batches but a value of type int"),
    ],
)
def test_the_command_says_which_name_is_wrong(runs, capsys, options, message):
    assert main(command(runs, **options)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [("--batches=0", "--batches must be at least 1, got 0"), ("--points=2", "got 2"), ("--tolerance=-1", "got -1.0")],
)
def test_the_command_shows_a_number_that_is_out_of_range(runs, capsys, option, message):
    assert main(command(runs, option)) == 2
    assert message in capsys.readouterr().err


def test_a_name_without_a_colon_and_a_single_checkpoint_are_refused(runs, capsys):
    assert main(["compare", *map(str, runs), "--module=Net", "--data=tests.test_compare:Data"]) == 2
    assert "--module must look like package.module:Name, got 'Net'" in capsys.readouterr().err
    assert main(command(runs[:1])) == 2
    assert re.search(r"at least two different files, got .*a\.ckpt", capsys.readouterr().err)


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_no_code_in_a_checkpoint_is_executed(runs, tmp_path, capsys):
    content = torch.load(runs[0], weights_only=True)
    torch.save(content | {"hyper_parameters": Evil()}, tmp_path / "evil.ckpt")
    assert main(command([tmp_path / "evil.ckpt", *runs])) == 2
    said = capsys.readouterr()
    assert "evil.ckpt contains other objects than tensors and builtins" in said.err
    assert "executed" not in said.out


def test_a_file_that_lightning_has_not_written_is_refused(tmp_path, runs, capsys):
    torch.save(Net().state_dict(), tmp_path / "plain.ckpt")
    assert main(command([tmp_path / "plain.ckpt", *runs])) == 2
    assert "plain.ckpt was not written by Lightning" in capsys.readouterr().err


def test_a_class_that_does_not_fit_the_checkpoint_is_named(runs, capsys):
    assert main(command(runs, module="Other")) == 2
    assert "belongs to another model: net.0.weight" in capsys.readouterr().err


class Other(Net):
    def __init__(self):
        super().__init__(width=3)
