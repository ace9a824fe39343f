"""Declared metrics and validation losses in real fits: what is read, said, published and continued."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor, PlateauMonitor
from lightning_landscape.examination import metric_reader

QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
HIDDEN = 128


class Rewarded(L.LightningModule):
    """Logs a reward that is a function of the step; its loss is pure noise, as in reinforcement learning."""

    def __init__(self, reward: Any, every: int = 1) -> None:
        super().__init__()
        self.net, self.reward, self.every = nn.Linear(2, 1), reward, every
        self.generator = torch.Generator().manual_seed(0)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step % self.every == 0:
            noise = float(torch.randn((), generator=self.generator))
            self.log("reward", self.reward(self.global_step) + noise)
        return (0.0 * self.net(batch[0])).mean() + torch.rand((), generator=self.generator)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Classifier(L.LightningModule):
    """Memorises the few samples that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        out = self.net(batch[0])
        self.log_dict({
            "val_loss": F.cross_entropy(out, batch[1]),
            "val_acc": (out.argmax(1) == batch[1]).float().mean(),
        })

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def samples(count: int, seed: int, *, shuffled: bool = False) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    centres = torch.randn(4, 8, generator=torch.Generator().manual_seed(5))
    inputs = centres[labels] + 1.5 * torch.randn(count, 8, generator=draw)
    return TensorDataset(inputs, labels[torch.randperm(count, generator=draw)] if shuffled else labels)


def fit(module: Any, monitor: Any, *more: Any, data: Any = None, validation: Any = None, **settings: Any) -> Any:
    """Fit, and return the trainer and the warnings of the library."""
    torch.manual_seed(0)
    data = DataLoader(TensorDataset(torch.ones(400, 2)), batch_size=4) if data is None else data
    callbacks = [*([] if monitor is None else [monitor]), *more]
    trainer = L.Trainer(accelerator="cpu", callbacks=callbacks, **{**QUIET, **settings})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, data, validation)
    return trainer, [str(warning.message) for warning in caught if "[LL" in str(warning.message)]


def test_a_loss_that_stands_still_is_no_alarm_while_the_declared_reward_rises():
    monitor = PlateauMonitor(monitor="reward", mode="max")
    trainer, said = fit(Rewarded(lambda step: step / 20), monitor, max_epochs=6)
    assert said == []
    assert all(not verdict.stuck for verdict in monitor.verdicts)
    assert "declared: `reward` still rises" in monitor.report
    assert trainer.callback_metrics["landscape/plateau_length/reward"] == 0
    assert monitor._state.metrics.per_step == ["reward"]


def test_a_reward_that_never_rises_is_one_alarm_that_names_it():
    monitor = PlateauMonitor(monitor="reward", mode="max")
    trainer, said = fit(Rewarded(lambda step: 3.0), monitor, max_epochs=6)
    alarms = [verdict for verdict in monitor.verdicts if verdict.stuck]
    assert len(alarms) == len(said) == 1
    assert "reward" in said[0]
    assert trainer.callback_metrics["landscape/plateau_length/reward"] > 100


def test_the_length_of_the_plateau_ends_a_run_as_early_stopping_is_told():
    stop = EarlyStopping(
        "landscape/plateau_length/reward", divergence_threshold=150, patience=10**9, check_on_train_epoch_end=True
    )
    monitor = PlateauMonitor(monitor="reward", mode="max")
    trainer, _ = fit(Rewarded(lambda step: min(step, 100)), monitor, stop, max_epochs=12)
    assert 250 <= trainer.global_step < 1200


def test_a_reward_that_is_logged_every_seventh_step_only_is_read_at_these_steps():
    monitor = PlateauMonitor(monitor="reward", mode="max")
    fit(Rewarded(lambda step: step / 20, every=7), monitor, max_epochs=3)
    steps = monitor._state.metrics.drawn()[0]["step"]
    assert all(step % 7 == 0 for step in steps[2:])
    assert len(steps) > 30


def test_a_metric_of_the_epoch_is_looked_at_in_few_batches_only(monkeypatch):
    looks = []
    take = metric_reader.MetricReader.take
    monkeypatch.setattr(metric_reader.MetricReader, "take", lambda self, *a: looks.append(a[2]) or take(self, *a))
    data = DataLoader(samples(256, 0), batch_size=4)
    monitor = PlateauMonitor(monitor="val_acc", mode="max")
    fit(Classifier(), monitor, data=data, validation=DataLoader(samples(64, 1), batch_size=64), max_epochs=2)
    assert len(looks) <= 2 * (64 / 20 + 3)
    assert monitor._state.metrics.per_step == []


def test_a_declared_metric_that_is_never_logged_is_said_once_with_names_that_are_near():
    monitor = PlateauMonitor(monitor="val_accuracy", mode="max")
    data = DataLoader(samples(64, 0), batch_size=32)
    _, said = fit(Classifier(), monitor, data=data, validation=DataLoader(samples(64, 1), batch_size=64), max_epochs=4)
    assert len(said) == 1
    assert said[0].startswith("[LL112] The declared metric 'val_accuracy' was not logged so far")
    assert "Logged were: 'val_acc'" in said[0]


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_model_that_memorises_is_told_so_without_an_alarm(shuffled):
    monitor = PlateauMonitor()
    data = DataLoader(samples(320 if shuffled else 160, 0, shuffled=shuffled), batch_size=32, shuffle=True)
    validation = DataLoader(samples(512, 1, shuffled=shuffled), batch_size=512)
    _, said = fit(Classifier(), monitor, data=data, validation=validation, max_epochs=80 if shuffled else 60)
    names = [verdict.finding.name for verdict in monitor.verdicts if verdict.finding]
    assert names == (["fresh-data-gain-nothing"] if shuffled else ["memorises"])
    assert said == []
    assert "healthy" not in monitor.report
    (curve,) = monitor._state.metrics.drawn()
    assert (curve["name"], curve["declared"], len(curve["step"])) == ("val_loss", False, 80 if shuffled else 60)
    assert json.dumps(curve)


def test_weights_are_the_same_with_declared_metrics_as_without_a_monitor():
    def trained(monitor: Any) -> Any:
        torch.manual_seed(3)
        module = Classifier()
        validation = DataLoader(samples(64, 1), batch_size=64)
        data = DataLoader(samples(64, 0), batch_size=32, shuffle=True)
        trainer, _ = fit(module, monitor, data=data, validation=validation, max_epochs=12)
        own = {name: value for name, value in trainer.callback_metrics.items() if not name.startswith("landscape/")}
        return [*module.parameters()], own

    (weights, metrics), (watched, same) = trained(None), trained(LandscapeMonitor(monitor=["val_acc"], mode="max"))
    assert all(torch.equal(a, b) for a, b in zip(weights, watched, strict=True))
    assert metrics == same


def test_a_resumed_run_knows_the_values_from_before(tmp_path):
    def watched(epochs: int, **resumed: Any) -> Any:
        monitor = PlateauMonitor(monitor="val_acc", mode="max")
        torch.manual_seed(0)
        trainer = L.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=[monitor], **QUIET)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = DataLoader(samples(64, 0), batch_size=32)
            trainer.fit(Classifier(), data, DataLoader(samples(64, 1), batch_size=64), **resumed)
        return monitor, trainer

    _, trainer = watched(6)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)
    monitor, _ = watched(12, ckpt_path=tmp_path / "half.ckpt")
    steps = [curve["step"] for curve in monitor._state.metrics.drawn()]
    assert steps == [[2 * epoch + 1 for epoch in range(12)]] * 2


def test_several_optimizers_with_a_declared_metric_are_judged_by_it():
    class Players(Rewarded):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.log("score", float(torch.randn((), generator=self.generator)))
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(self.net(batch[0]).pow(2).mean())
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), lr=1e-3), torch.optim.SGD(self.parameters(), lr=1e-3)]

    monitor = PlateauMonitor(monitor="score", mode="max")
    fit(Players(None), monitor, max_epochs=6)
    assert "judged by its declared metrics" in monitor.report
    assert "not judged" not in monitor.report
    assert [verdict.finding.name for verdict in monitor.verdicts] == ["metric-stands-still"]
    assert monitor.verdict.stuck


def test_copies_and_pickles_hold_no_tensor_of_the_run():
    monitor = PlateauMonitor(monitor="reward", mode="max")
    fit(Rewarded(lambda step: 1.0), monitor, max_epochs=1)
    for copied in (copy.deepcopy(monitor), copy.copy(monitor), pickle.loads(pickle.dumps(monitor))):
        assert copied.report == monitor.report
    assert not copy.deepcopy(monitor._reader)._latest


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"monitor": "reward", "mode": "up"}, "mode must be 'min' or 'max', or a list of these, got 'up'"),
        ({"mode": "min"}, "mode='min' says how a metric should move, but monitor=None names none; name the metric"),
        ({"mode": ["max"], "monitor": []}, "says how a metric should move, but monitor=[] names none; name the metric"),
        ({"monitor": 3}, "monitor must be the name of a logged metric, or a list of names, got 3"),
        ({"monitor": ["a", "a"]}, "monitor must name each metric once"),
        ({"monitor": ["a", "b"], "mode": ["min"]}, "mode must be one for all metrics or one for each"),
    ],
)
@pytest.mark.parametrize("kind", [LandscapeMonitor, PlateauMonitor])
def test_arguments_out_of_range_are_refused_with_their_value(kind, arguments, error):
    with pytest.raises(ValueError, match=error.replace("[", r"\[")):
        kind(**arguments)
