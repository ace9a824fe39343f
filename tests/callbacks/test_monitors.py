"""The monitors in real runs: scalars, figures, warnings and reports, and training that is unchanged."""

import copy
import functools
import html
import math
import re
import tempfile
import warnings

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import (
    Cause,
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LandscapeWarning,
    LossInterpolationMonitor,
    PlateauMonitor,
)
from lightning_landscape.errors import BarrierWarning, GradientWarning, PlateauWarning
from lightning_landscape.evidence import Curvature
from lightning_landscape.evidence.message import short_text

MONITORS = {
    "landscape": LandscapeMonitor,
    "gradient norm": lambda: GradientNormMonitor(every_n_steps=2),
    "plateau": PlateauMonitor,
    "interpolation": lambda: LossInterpolationMonitor(every_n_steps=20),
    "curvature": lambda: CurvatureMonitor(every_n_steps=60, iterations=6, max_batches=2),
}
SCALARS = {"grad_norm", "grad_norm_clipped", "update_ratio", "plateau_length", "loss_trend", "barrier", "verdict"}


class Classifier(L.LightningModule):
    def __init__(self, depth=1, activation=nn.ReLU, lr=0.05, dropout=0.0):
        super().__init__()
        hidden = [part for _ in range(depth) for part in (nn.Linear(16, 16), activation(), nn.Dropout(dropout))]
        self.net = nn.Sequential(nn.Linear(8, 16), activation(), *hidden, nn.Linear(16, 3))
        self.lr = lr

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def stuck():
    """Return a deep network of sigmoid layers, in which the gradient vanishes."""
    return Classifier(depth=8, activation=nn.Sigmoid)


def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(640, 8, generator=generator)
    labels = inputs[:, :3].argmax(1)
    return DataLoader(TensorDataset(inputs, labels), batch_size=32, shuffle=True)


def make_trainer(tmp_path, callbacks, **settings):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    defaults = {"max_steps": 200, "logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
    return L.Trainer(**{**quiet, **defaults, **settings}, callbacks=callbacks)


def fit(tmp_path, module, callbacks, ckpt_path=None, **settings):
    torch.manual_seed(7)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    trainer = make_trainer(tmp_path, callbacks, **settings)
    trainer.fit(module, data(), ckpt_path=ckpt_path)
    return trainer


def trace_of(trainer):
    """Return everything that a monitor could have changed."""
    metrics = {k: v.item() for k, v in trainer.callback_metrics.items() if not k.startswith("landscape/")}
    module = trainer.lightning_module
    grads = {n: None if p.grad is None else p.grad.clone() for n, p in module.named_parameters()}
    optimizers = copy.deepcopy([o.state_dict() for o in trainer.optimizers])
    return copy.deepcopy(module.state_dict()), optimizers, metrics, grads, torch.get_rng_state()


def is_equal(left, right):
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_equal(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(is_equal, left, right))
    return left == right


MODULES = {"healthy": lambda: Classifier(dropout=0.3), "stuck": stuck}
TRAINER_SETTINGS = {"plain": {}, "both": {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1}}


@functools.cache
def alone(module, settings):
    with tempfile.TemporaryDirectory() as folder:
        return trace_of(fit(folder, MODULES[module](), [], **TRAINER_SETTINGS[settings]))


# tests/callbacks/test_transparency.py and tests/matrices test each monitor in short, healthy runs. Here the runs are
# long enough for a verdict: `LandscapeMonitor` in all four combinations, the other monitors in one of them.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")
@pytest.mark.parametrize(
    ("monitor", "module", "settings"),
    [("landscape", module, settings) for module in MODULES for settings in TRAINER_SETTINGS]
    + [(name, "stuck", "both") for name in MONITORS if name != "landscape"],
)
def test_training_with_a_monitor_is_bit_identical_to_training_without(tmp_path, monitor, module, settings):
    monitored = trace_of(fit(tmp_path, MODULES[module](), [MONITORS[monitor]()], **TRAINER_SETTINGS[settings]))
    assert is_equal(alone(module, settings), monitored)


def test_these_tests_notice_a_callback_that_draws_a_random_number(tmp_path):
    class Draws(L.Callback):
        def on_train_batch_end(self, *args):
            torch.rand(1)

    assert not is_equal(
        trace_of(fit(tmp_path, Classifier(dropout=0.3), [])),
        trace_of(fit(tmp_path, Classifier(dropout=0.3), [Draws()])),
    )


def test_a_healthy_run_gets_no_alarm(tmp_path):
    monitor = LandscapeMonitor()
    fit(tmp_path, Classifier(), [monitor], max_steps=400)
    assert not [verdict for verdict in monitor.verdicts if verdict.stuck]
    assert "no alarm" in monitor.report.lower()


@pytest.mark.slow
def test_a_stuck_run_gets_one_warning_with_its_steps_the_thresholds_and_advice(tmp_path):
    monitor = LandscapeMonitor()
    with pytest.warns(PlateauWarning) as caught:
        fit(tmp_path, stuck(), [monitor], max_steps=400)
    texts = [str(w.message) for w in caught if isinstance(w.message, LandscapeWarning)]
    assert len(texts) == 1
    assert monitor.verdict.cause is Cause.FLAT_REGION
    since = f"since step {monitor.verdict.since}" if monitor.verdict.since else "from the start"
    assert f"step {monitor.verdict.step}: stuck on a flat region {since}" in texts[0]
    assert "threshold 0.0001" in texts[0]
    assert "would have noticed" in texts[0] or "too noisy to tell" in texts[0]
    assert "Try: " in texts[0]


def scalars_of(path):
    events = EventAccumulator(str(path), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    return events


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulate"])
def test_tensorboard_gets_every_scalar_at_the_steps_of_train_loss_the_figures_and_the_verdict(tmp_path, settings):
    logger = TensorBoardLogger(tmp_path)
    with pytest.warns(LandscapeWarning):
        fit(tmp_path, stuck(), [LandscapeMonitor()], logger=logger, log_every_n_steps=5, **settings)
    events = scalars_of(logger.log_dir)
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    logged = {name.removeprefix("landscape/") for name in steps if name.startswith("landscape/")}
    assert SCALARS - {"grad_norm_clipped"} <= logged
    assert len(logged) <= 8
    assert "grad_norm_clipped" not in logged  # nothing clips
    assert steps["landscape/grad_norm"] == steps["landscape/plateau_length"] == steps["train_loss"]
    for name in logged:
        assert set(steps[f"landscape/{name}"]) <= set(steps["train_loss"])
    assert {"landscape/grad_norms", "landscape/line_from_initial"} <= set(events.Tags()["images"])
    assert "landscape/verdict_card/text_summary" in events.Tags()["tensors"]


def logged_names(tmp_path, monitor, **settings):
    """Return the names of the scalars that a logger gets, and of those in `callback_metrics`."""
    logger = TensorBoardLogger(tmp_path)
    trainer = fit(tmp_path, Classifier(), [monitor], logger=logger, log_every_n_steps=5, **settings)
    names = scalars_of(logger.log_dir).Tags()["scalars"], trainer.callback_metrics
    return [{name.removeprefix("landscape/") for name in found if name.startswith("landscape/")} for found in names]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LandscapeMonitor, GradientNormMonitor])
def test_the_norm_after_clipping_is_logged_only_where_something_clips(tmp_path, kind):
    without, metrics = logged_names(tmp_path / "without", kind())
    assert "grad_norm_clipped" not in without
    assert "grad_norm_clipped" in metrics
    clipped, _ = logged_names(tmp_path / "clipped", kind(), gradient_clip_val=0.01)
    assert "grad_norm_clipped" in clipped


@pytest.mark.slow
def test_loggers_get_all_scalars_or_those_that_are_named_on_request(tmp_path):
    everything, metrics = logged_names(tmp_path / "all", LandscapeMonitor(log_scalars="all"))
    assert "overhead" in everything
    assert everything == metrics - {"grad_norm_clipped"}
    named, others = logged_names(tmp_path / "named", LandscapeMonitor(log_scalars=["grad_norm_clipped", "verdict"]))
    assert named == {"grad_norm_clipped", "verdict"}
    assert others >= SCALARS - {"barrier"}  # no line was measured in so short a run


@pytest.mark.parametrize(
    ("wrong", "shown"), [("many", "'many'"), (["grad_norm", "loss"], "'loss'"), (3, "3"), ([None], "None")]
)
def test_a_choice_of_scalars_that_do_not_exist_is_refused_with_its_value(wrong, shown):
    with pytest.raises(ValueError, match=f"log_scalars m.* got {shown}$"):
        LandscapeMonitor(log_scalars=wrong)


def test_after_the_fit_the_report_does_not_say_that_the_run_is_running(tmp_path):
    seen = []

    class ReadsReport(L.Callback):
        def on_train_batch_end(self, *args):
            seen.append(monitor.report.document["course"]["status"])

    monitor = LandscapeMonitor(effort="light")
    fit(tmp_path, Classifier(), [monitor, ReadsReport()])
    assert set(seen) == {"running"}
    assert monitor.report.document["course"]["status"] == "ended"
    assert '"status": "running"' not in html.unescape(monitor.report._repr_html_())


def test_other_callbacks_can_read_the_scalars_from_the_first_step_on(tmp_path):
    class ReadsMetrics(L.Callback):
        def on_train_batch_start(self, trainer, *args):
            assert "landscape/plateau_length" in trainer.callback_metrics

    trainer = fit(tmp_path, Classifier(), [LandscapeMonitor(every_n_steps=30), ReadsMetrics()])
    assert {f"landscape/{name}" for name in SCALARS} <= trainer.callback_metrics.keys()


@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")
def test_early_stopping_can_stop_a_run_when_its_plateau_is_too_long(tmp_path):
    stop = EarlyStopping(
        "landscape/plateau_length", mode="min", patience=10**9, divergence_threshold=60, check_on_train_epoch_end=True
    )
    trainer = fit(tmp_path, stuck(), [PlateauMonitor(), stop], max_steps=400)
    assert trainer.global_step < 400


def test_the_gradient_monitor_warns_of_a_vanishing_gradient_once(tmp_path):
    with pytest.warns(GradientWarning, match="LL110") as caught:
        fit(tmp_path, stuck(), [GradientNormMonitor()])
    assert len([w for w in caught if isinstance(w.message, LandscapeWarning)]) == 1


def test_the_gradient_monitor_warns_of_an_exploding_gradient(tmp_path):
    class Explodes(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * (1e5 if self.global_step >= 150 else 1.0)

    with pytest.warns(GradientWarning, match="LL111"):
        fit(tmp_path, Explodes(lr=1e-9), [GradientNormMonitor()])


@pytest.mark.slow
def test_the_curvature_monitor_logs_both_extreme_eigenvalues_the_trace_and_the_share_of_negative_ones(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    monitor = CurvatureMonitor(every_n_steps=50)
    trainer = fit(tmp_path, Classifier(), [monitor], logger=logger, log_every_n_steps=5)
    metrics = {name.removeprefix("landscape/"): value.item() for name, value in trainer.callback_metrics.items()}
    assert metrics["lambda_min"] <= 0 < metrics["lambda_max"]
    assert metrics["sharpness_ratio"] == pytest.approx(metrics["lambda_max"] * 0.05 / 2)
    assert 0 <= metrics["share_negative"] <= 1
    assert monitor._state.readings.latest(Curvature).products <= 20
    events = scalars_of(logger.log_dir)
    assert {"landscape/lambda_min", "landscape/trace"} <= set(events.Tags()["scalars"])
    assert "landscape/spectrum" in events.Tags()["images"]


def test_the_interpolation_monitor_adds_its_lines_to_the_warning_and_prints_the_first_one(tmp_path):
    with pytest.warns(BarrierWarning) as caught:
        fit(tmp_path, stuck(), [LossInterpolationMonitor()])
    sentence = "On the line from initial to the present weights the loss goes from"
    (text,) = (str(warning.message) for warning in caught if warning.category is BarrierWarning)
    assert sentence in text
    for width in (60, 80, 120):  # the terminal shows eight lines of the warning
        assert sentence in " ".join(short_text(f"BarrierWarning: {text}", width).split())


def test_a_line_has_both_ends_and_one_point_beyond_and_its_loss_falls_to_the_present_point(tmp_path):
    monitor = LossInterpolationMonitor(every_n_steps=50, anchors=["initial"])
    fit(tmp_path, Classifier(), [monitor])
    step, line = monitor._state.readings.lines()["initial"][-1]
    assert step == 199
    assert line.alphas == pytest.approx([i / 10 for i in range(12)])
    assert line.losses[10] < line.losses[0]


def test_a_checkpoint_file_can_be_an_anchor_and_a_damaged_one_is_skipped_with_a_reason(tmp_path):
    fit(tmp_path, Classifier(), [ModelCheckpoint(tmp_path, "first")], max_steps=20, enable_checkpointing=True)
    good, bad = str(tmp_path / "first.ckpt"), str(tmp_path / "bad.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint")
    monitor = LossInterpolationMonitor(every_n_steps=50, anchors=[good, bad])
    with pytest.warns(LandscapeWarning, match=r"bad.ckpt is skipped: .*is damaged"):
        fit(tmp_path, Classifier(), [monitor], max_steps=100)
    assert list(monitor._state.readings.lines()) == [good]
    assert any("bad.ckpt" in line for line in monitor.report.splitlines())


def test_after_a_checkpoint_is_written_the_next_line_is_measured_early(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, every_n_train_steps=70)
    monitor = LossInterpolationMonitor(every_n_steps=100, anchors=["initial"])
    fit(tmp_path, Classifier(), [checkpoints, monitor], enable_checkpointing=True)
    first, _ = monitor._state.readings.lines()["initial"][0]
    assert 69 <= first < 99


@pytest.mark.filterwarnings("ignore:.*this fit will run with no optimizer")
def test_if_no_optimizer_step_can_be_observed_there_is_one_warning_and_losses_are_recorded(tmp_path):
    class InBackward(Classifier):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self):
            return None

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            return loss

    monitor = LandscapeMonitor()
    with pytest.warns(LandscapeWarning) as caught:
        fit(tmp_path, InBackward(), [monitor], max_steps=-1, max_epochs=3)
    assert len([w for w in caught if "LL101" in str(w.message)]) == 1
    assert monitor._state.steps == 60


def test_steps_that_accumulate_many_batches_are_observed_without_the_warning_about_missing_steps(tmp_path):
    monitor = PlateauMonitor()
    batches = DataLoader(data().dataset, batch_size=8)  # 80 batches
    make_trainer(tmp_path, [monitor], max_steps=2, accumulate_grad_batches=32).fit(Classifier(), batches)
    assert "LL101" not in monitor._state.announced_codes
    assert monitor._state.steps == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")
@pytest.mark.parametrize("logger", [False, CSVLogger], ids=["none", "csv"])
def test_with_a_csv_logger_figures_are_files_and_without_a_logger_there_are_none(tmp_path, logger):
    logger = logger and logger(tmp_path)
    fit(tmp_path, stuck(), [LandscapeMonitor()], logger=logger, log_every_n_steps=5)
    pictures = list(tmp_path.rglob("*.png"))
    assert bool(pictures) == bool(logger)


@pytest.mark.slow
def test_a_warning_that_a_filter_turns_into_an_error_stops_the_run(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandscapeWarning)
        with pytest.raises(PlateauWarning):
            fit(tmp_path, stuck(), [LandscapeMonitor()], max_steps=400)


@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")
@pytest.mark.parametrize(
    "settings", [{"fast_dev_run": 3}, {"limit_train_batches": 1, "max_epochs": 2}, {"barebones": True}]
)
def test_short_and_barebones_runs_cause_no_failure(tmp_path, settings):
    no_defaults = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"))
    extra = {
        **(no_defaults if "barebones" in settings else {}),
        "max_steps": -1 if "max_epochs" in settings else 20,
        **settings,
    }
    torch.manual_seed(0)
    monitor = LandscapeMonitor()
    trainer = make_trainer(tmp_path, [monitor], **extra)
    trainer.fit(LogsNothing(), data())
    assert monitor._state.steps > 0


class LogsNothing(Classifier):
    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), batch[1])


@pytest.mark.slow
def test_the_report_is_available_as_text_dict_markdown_and_html(tmp_path):
    monitor = LandscapeMonitor()
    with pytest.warns(LandscapeWarning):
        fit(tmp_path, stuck(), [monitor])
    report = monitor.report
    assert report.to_dict()["verdicts"][0]["cause"] == "flat_region"
    assert "| measured | value |" in report.to_markdown()
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert math.isfinite(report.to_dict()["loss"]["now"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LandscapeMonitor(every_n_steps=0), "every_n_steps must be at least 1 optimizer step.*got 0"),
        (lambda: LandscapeMonitor(max_snapshot_bytes=0), "max_snapshot_bytes must be at least 1, got 0"),
        (lambda: LandscapeMonitor(num_points=2), "num_points must be at least 3.*got 2"),
        (lambda: LandscapeMonitor(max_batches=0), "max_batches must be at least 1, got 0"),
        (lambda: LandscapeMonitor(anchors=()), r"anchors must be .* got \(\)"),
        (lambda: LandscapeMonitor(anchors="initial"), "anchors must be .* got 'initial'"),
        (lambda: LandscapeMonitor(anchors=("intial",)), "among 'initial', 'previous', 'best', or be .* got 'intial'"),
        (lambda: LossInterpolationMonitor(anchors=["best", "intial"]), "anchors must be among .* got 'intial'"),
        (lambda: LandscapeMonitor(effort="light", anchors=("intial",)), "anchors must be among .* got 'intial'"),
        (lambda: LandscapeMonitor(every_n_steps=2.5), "every_n_steps must be a whole number, got 2.5"),
        (lambda: LandscapeMonitor(max_batches=True), "max_batches must be a whole number, got True"),
        (lambda: LandscapeMonitor(num_points="11"), "num_points must be a whole number, got '11'"),
        (lambda: LandscapeMonitor(num_points=None), "num_points must be a whole number, got None"),
        (lambda: GradientNormMonitor(every_n_steps=None), "every_n_steps must be a whole number, got None"),
        (lambda: LandscapeMonitor(loss_fn=3), r"loss_fn must be a function \(module, batch\) -> loss, got 3"),
        (lambda: LandscapeMonitor(loss_fn=dict), "loss_fn must be a function .* got <class 'dict'>"),
        (lambda: LandscapeMonitor(loss_fn=nn.CrossEntropyLoss()), r"loss_fn must be .* got CrossEntropyLoss\(\)"),
        (lambda: CurvatureMonitor(loss_fn=lambda batch: 0.0), "loss_fn must be a function .* got <function"),
        (lambda: LandscapeMonitor(probes=""), "probes must be a sequence of functions, got ''"),
        (lambda: LandscapeMonitor(log_scalars={}), r"log_scalars may name .* got \{\}"),
        (lambda: LandscapeMonitor(probes=3), "probes must be a sequence of functions, got 3"),
        (lambda: LandscapeMonitor(norm_every_n_steps=-1), "norm_every_n_steps must be at least 1, got -1"),
        (lambda: CurvatureMonitor(iterations=0), "iterations must be at least 1, got 0"),
        (lambda: GradientNormMonitor(every_n_steps=0), "every_n_steps must be at least 1 optimizer step, got 0"),
        (lambda: PlateauMonitor(norm_every_n_steps=0), "norm_every_n_steps must be at least 1, got 0"),
        (lambda: LossInterpolationMonitor(every_n_steps=-5), "every_n_steps must be at least 1 optimizer step.*got -5"),
    ],
)
def test_a_wrong_argument_raises_a_value_error_that_shows_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("wrong", [7, True, ["landscape"]])
def test_a_directory_that_is_no_path_is_a_type_error_that_shows_the_value(wrong):
    with pytest.raises(TypeError, match=re.escape(f"dirpath must be the path of a directory, got {wrong!r}")):
        LandscapeMonitor(dirpath=wrong)


def test_a_directory_may_be_a_path(tmp_path):
    fit(tmp_path, stuck(), [LandscapeMonitor(dirpath=tmp_path / "mine")], max_steps=3)
    assert (tmp_path / "mine" / "landscape_report.html").exists()


def test_a_loss_fn_may_be_an_object_that_is_called_with_module_and_batch():
    class Loss(nn.Module):
        def forward(self, module, batch):
            return module.training_step(batch, 0)

    for loss_fn in (Loss(), Loss().forward):
        assert loss_fn in LandscapeMonitor(loss_fn=loss_fn)._examination.given


def test_the_path_of_a_checkpoint_that_is_not_written_yet_can_be_an_anchor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_bytes(b"")
    for path in ("last.ckpt", "runs/last", str(tmp_path / "last"), "weights"):
        assert path in LandscapeMonitor(anchors=["initial", path])._examination.snapshots.names
