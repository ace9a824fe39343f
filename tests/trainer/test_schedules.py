"""What is read off the schedulers of torch, of transformers and of users."""

import functools
import warnings
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from lightning_landscape.evidence import Scheduler
from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.schedules import schedulers_of


def read(make, *, automatic=True, **config):
    """Return the reading of the scheduler that `make` builds for an optimizer with a rate of 0.1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    settings = {"interval": "epoch", "frequency": 1, "monitor": None} | config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        configs = [SimpleNamespace(scheduler=make(optimizer), **settings)]
    host = SimpleNamespace(
        optimizers=[optimizer], scheduler_configs=configs, automatic_optimization=automatic, steps_per_epoch=20.0
    )
    reading = schedulers_of(host)
    assert reading.steps_per_epoch == 20.0
    (scheduler,) = reading.schedulers
    return scheduler


def joined(optimizer):
    parts = [lr_scheduler.LinearLR(optimizer, 0.01, total_iters=100), lr_scheduler.CosineAnnealingLR(optimizer, 800)]
    return lr_scheduler.SequentialLR(optimizer, parts, [100])


@pytest.mark.parametrize(
    ("make", "length", "name"),
    [
        (lambda o: lr_scheduler.StepLR(o, 30), 30, "step_size"),
        (lambda o: lr_scheduler.MultiStepLR(o, [30, 60, 60]), 60, "milestones"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 40), 40, "T_max"),
        (lambda o: lr_scheduler.PolynomialLR(o, 50), 50, "total_iters"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=900), 900, "total_steps"),
        (joined, 900, "milestones"),
        (lambda o: lr_scheduler.ExponentialLR(o, 0.9), None, ""),
        (lambda o: lr_scheduler.LambdaLR(o, lambda step: 1.0), None, ""),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10), None, ""),  # it has no end
    ],
)
def test_the_length_of_a_schedule_is_known_with_its_setting(make, length, name):
    scheduler = read(make)
    assert (scheduler.length, scheduler.length_name) == (length, name)


@pytest.mark.parametrize(
    ("make", "warmup", "target"),
    [
        (lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=900, pct_start=0.2), 179, 0.5),
        (lambda o: lr_scheduler.LinearLR(o, 0.01, total_iters=100), 100, 0.1),
        (lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=100), None, 0.1),
        (joined, 100, 0.1),
        (lambda o: lr_scheduler.StepLR(o, 30), None, 0.1),
    ],
)
def test_the_length_of_a_warm_up_is_known_with_the_rate_that_it_leads_to(make, warmup, target):
    scheduler = read(make)
    assert (scheduler.warmup, scheduler.target_rate) == (warmup, pytest.approx(target))


def test_the_arguments_of_a_function_of_transformers_are_read():
    def linear(step, *, num_warmup_steps, num_training_steps):
        return 1.0

    scheduler = read(
        lambda o: lr_scheduler.LambdaLR(o, functools.partial(linear, num_warmup_steps=100, num_training_steps=900))
    )
    assert (scheduler.length, scheduler.warmup) == (900, 100)


def test_a_scheduler_that_watches_a_metric_has_its_patience_and_factor():
    make = functools.partial(lr_scheduler.ReduceLROnPlateau, patience=2, factor=0.5)
    scheduler = read(make, interval="step", frequency=5, monitor="loss")
    assert scheduler == Scheduler(
        "ReduceLROnPlateau",
        "step",
        frequency=5,
        monitor="loss",
        patience=2,
        factor=0.5,
        target_rate=scheduler.target_rate,
    )
    assert scheduler.watches_metric


@pytest.mark.parametrize(
    ("make", "decay"),
    [
        (lambda o: lr_scheduler.ExponentialLR(o, 0.9), 0.9),
        (lambda o: lr_scheduler.StepLR(o, 10, 0.5), 0.5**0.1),
        (lambda o: lr_scheduler.ExponentialLR(o, 1.1), None),  # as a test of rates uses it
        (lambda o: lr_scheduler.MultiStepLR(o, [30], 0.1), None),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="exp_range", gamma=0.9), None),
    ],
)
def test_the_factor_is_known_of_schedulers_that_multiply_the_rate_by_one_again_and_again(make, decay):
    assert read(make).decay == (None if decay is None else pytest.approx(decay))


def test_a_scheduler_of_unknown_class_is_read_as_far_as_it_goes():
    scheduler = read(lambda o: SimpleNamespace(optimizer=o, max_epochs="many", warmup_epochs=5))
    assert (scheduler.length, scheduler.warmup) == (None, 5)
    assert read(lambda o: object()).kind == "object"
    assert read(lambda o: SimpleNamespace(optimizer=o, lr_lambdas=None, _schedulers=None)).length is None


def test_with_manual_optimization_the_code_of_the_user_steps_it():
    assert read(lambda o: lr_scheduler.StepLR(o, 30), automatic=False).interval == "manual"


class Two(L.LightningModule):
    """Two optimizers with a scheduler each, and a scheduler that Lightning steps by itself."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.layer = torch.nn.Linear(2, 1)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(schedulers_of(LightningHost(self.trainer, self)))

    def configure_optimizers(self):
        optimizers = [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]
        return optimizers, [lr_scheduler.StepLR(optimizers[0], 30), lr_scheduler.StepLR(optimizers[1], 60)]


def test_the_schedulers_of_a_run_are_those_of_its_first_optimizer():
    module = Two()
    trainer = L.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, accumulate_grad_batches=1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, DataLoader(torch.randn(6, 2), batch_size=2))
    reading = module.seen[0]
    assert [scheduler.length for scheduler in reading.schedulers] == [30]
    assert reading.schedulers[0].interval == "manual"
    assert reading.steps_per_epoch == 3.0
