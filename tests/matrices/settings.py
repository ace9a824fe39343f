"""A table of the ways in which people train with Lightning; `test_settings.py` runs each monitor in each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, callbacks
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.tuner import Tuner
from torch import nn
from torch.utils.data import DataLoader

from tests.matrices.runs import Run, Setting, held_out, learnable
from tests.zoo.batches import Stream, TwoLoaders, two_loaders
from tests.zoo.layers import CompiledPart, CompiledWhole
from tests.zoo.manual import Adversaries, OptimizerInBackward
from tests.zoo.plain import Classifier, Convolutional, Perceptron, SecondOrder


class Sized(Perceptron):
    """Has the attributes `batch_size` and `lr`, which Lightning's finders change."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_size, self.lr = 4, 3e-3

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(learnable(), batch_size=self.batch_size, shuffle=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), self.lr)


class Backbone(Classifier):
    """`BackboneFinetuning` freezes its backbone until the third epoch and adds it to the optimizer then."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Linear(8, 16), nn.Tanh()), nn.Linear(16, 3)

    def net(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(inputs))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


class LogsNothing(Perceptron):
    """Logs nothing, as `barebones=True` requires."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        torch.rand(())


class Immovable(LogsNothing):
    """The learning rate is so small that the loss stays on a plateau."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-9)


def resume_mid_epoch(run: Run) -> None:
    """Stop in the middle of the third epoch, and resume from the checkpoint with a new trainer and module."""
    run.begin(ModelCheckpoint(run.folder, "{step}", every_n_train_steps=19), enable_checkpointing=True, max_steps=21)
    run.fit()
    (path,) = run.folder.glob("*.ckpt")
    run.begin()
    run.fit(ckpt_path=path)


def fit_twice(run: Run) -> None:
    run.begin()
    run.fit()
    run.trainer.fit_loop.max_epochs += 3
    run.fit()


def find_learning_rate(run: Run) -> None:
    trainer = run.begin()
    Tuner(trainer).lr_find(run.module, num_training=20)
    trainer.fit(run.module, val_dataloaders=held_out())


def fit_with_the_modules_loader(run: Run) -> None:
    run.begin()
    run.trainer.fit(run.module, val_dataloaders=held_out())


def resume_after_an_exception(run: Run) -> None:
    """Raise in the first run, and resume from the checkpoint that `OnExceptionCheckpoint` has written."""

    class RaiseAtStep25(Callback):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 25:
                raise InterruptedError

    run.begin(RaiseAtStep25(), enable_checkpointing=True)
    try:
        run.fit()
    except InterruptedError:
        run.begin(enable_checkpointing=True)
        run.fit(ckpt_path=run.folder / "on_exception.ckpt")


def _fp16_with_scaler() -> dict[str, Any]:
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))]}


def _barebones() -> dict[str, Any]:
    switched_off = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")
    return {"barebones": True, **dict.fromkeys((*switched_off, "log_every_n_steps", "num_sanity_val_steps"))}


def _callback(kind: type[Callback], **settings: Any) -> Any:
    return lambda folder: [kind(**settings)]


def _early_stopping(folder: Path) -> list[Callback]:
    return [EarlyStopping("loss", patience=0, min_delta=10.0)]


def _pruning(folder: Path) -> list[Callback]:
    return [ModelPruning("l1_unstructured", parameter_names=["weight"], amount=0.2, use_global_unstructured=True)]


SETTINGS = {
    "plain": Setting(Convolutional),
    "accumulate": Setting(Convolutional, trainer=lambda: {"accumulate_grad_batches": 3}, steps=15),
    "clip": Setting(trainer=lambda: {"gradient_clip_val": 0.05}),
    "clip by value": Setting(trainer=lambda: {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}),
    "bf16": Setting(Convolutional, trainer=lambda: {"precision": "bf16-mixed"}),
    "fp16 with a scaler": Setting(trainer=_fp16_with_scaler),
    "double": Setting(trainer=lambda: {"precision": "64-true"}),
    "manual, two optimizers": Setting(
        Adversaries, steps=80, allowed_codes=("[LL301]", "[LL204 optimizer-stands-still]")
    ),
    "optimizer in backward": Setting(OptimizerInBackward, allowed_codes=("[LL101]",)),
    "LBFGS": Setting(SecondOrder),
    "compiled part": Setting(CompiledPart),
    "compiled whole": Setting(CompiledWhole, prepare=lambda module: torch.compile(module, backend="aot_eager")),
    "barebones": Setting(LogsNothing, trainer=_barebones),
    "fast_dev_run": Setting(trainer=lambda: {"fast_dev_run": 3}, steps=3),
    "overfit_batches": Setting(trainer=lambda: {"overfit_batches": 2}, steps=10),
    "no batches": Setting(trainer=lambda: {"limit_train_batches": 0}, steps=0),
    "one batch an epoch": Setting(trainer=lambda: {"limit_train_batches": 1}, steps=5),
    "no steps": Setting(trainer=lambda: {"max_steps": 0}, steps=0),
    "no epochs": Setting(trainer=lambda: {"max_epochs": 0}, steps=0),
    "iterable": Setting(loader=lambda: DataLoader(Stream(), batch_size=8), steps=25),
    "several loaders": Setting(TwoLoaders, loader=two_loaders, steps=30),
    "resumed mid-epoch": Setting(drive=resume_mid_epoch),
    "second fit": Setting(drive=fit_twice, steps=24),
    "lr_find": Setting(Sized, drive=find_learning_rate, steps=80),
    "LearningRateFinder": Setting(
        Sized, others=_callback(LearningRateFinder, num_training_steps=20), drive=fit_with_the_modules_loader, steps=80
    ),
    "BatchSizeFinder": Setting(
        Sized,
        others=_callback(BatchSizeFinder, steps_per_trial=2, init_val=4, max_trials=2),
        drive=fit_with_the_modules_loader,
    ),
    "SWA": Setting(
        Convolutional, others=_callback(StochasticWeightAveraging, swa_lrs=1e-3, swa_epoch_start=2), steps=41
    ),
    "EarlyStopping": Setting(others=_early_stopping, steps=16),
    "OnExceptionCheckpoint": Setting(
        others=lambda folder: [OnExceptionCheckpoint(folder)], drive=resume_after_an_exception
    ),
    "GradientAccumulationScheduler": Setting(
        others=lambda folder: [GradientAccumulationScheduler({0: 1, 2: 4})], steps=22
    ),
    "BackboneFinetuning": Setting(
        Backbone, others=_callback(BackboneFinetuning, unfreeze_backbone_at_epoch=2, backbone_initial_lr=1e-2)
    ),
    "ModelPruning": Setting(others=_pruning),
    "validation within epochs": Setting(Convolutional, trainer=lambda: {"val_check_interval": 3}),
    "stuck": Setting(
        Immovable, trainer=lambda: {"max_epochs": 15}, steps=120, allowed_codes=("[LL204]", "[LL207]", "[LL209]")
    ),
}

if hasattr(callbacks, "EMAWeightAveraging"):  # Lightning 2.6
    SETTINGS["WeightAveraging"] = Setting(Convolutional, others=_callback(callbacks.WeightAveraging))
    SETTINGS["EMA"] = Setting(Convolutional, others=_callback(callbacks.EMAWeightAveraging, decay=0.9))
