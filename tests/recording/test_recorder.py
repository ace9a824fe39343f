"""Every number of a `StepRecord` equals one that is computed independently, for each kind of optimization."""

import contextlib
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.recording.intervals import Intervals
from lightning_landscape.recording.optimizer_record import PendingStep
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.tracking.loss_history import LossHistory
from lightning_landscape.tracking.progress import SHORT_WINDOW, Progress
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer.lightning_host import LightningHost


class Classifier(L.LightningModule):
    """Keeps the loss of every micro-batch, to be compared with the recorded ones."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)
        self.losses = []

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


class Witness(L.Callback):
    """Runs the recorder, and computes the same numbers in the simplest way."""

    def __init__(self, **settings):
        self.recorder = StepRecorder(**{"updates_every": 1, **settings})
        self.records: list[StepRecord] = []
        self.before: list[dict[int, float]] = []
        self.after: list[float] = []
        self.updates: list[float] = []

    def on_train_start(self, trainer, pl_module):
        self.recorder.attach(LightningHost(trainer, pl_module), Intervals())

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.weights = flat(pl_module)
        self.norm = None

    def on_before_backward(self, trainer, pl_module, loss):
        self.recorder.before_backward(loss)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.recorder.before_step(optimizer)
        self.norm = norm_of(p.grad for group in optimizer.param_groups for p in group["params"])
        self.before.append(self.norm)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.recorder.end_batch(outputs)
        if self.norm is not None:
            self.after.append(norm_of(p.grad for p in pl_module.parameters()))
            self.updates.append(float((flat(pl_module) - self.weights).norm()))
        if self.recorder.waiting >= 3:
            self.records += self.recorder.drain()

    def on_train_end(self, trainer, pl_module):
        self.records += self.recorder.drain()
        self.recorder.detach()


def flat(module):
    return torch.cat([p.detach().double().flatten() for p in module.parameters()])


def norm_of(gradients):
    dense = [g.to_dense() if g.is_sparse else g for g in gradients if g is not None]
    return math.sqrt(sum(float((g.double() ** 2).sum()) for g in dense))


def data(samples=56, batch_size=8):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, 8, generator=generator)
    return DataLoader(
        TensorDataset(inputs, torch.randint(0, 3, (samples,), generator=generator)), batch_size=batch_size
    )


def fit(module, witness, **settings):
    torch.manual_seed(1)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(**{"max_epochs": 1, "accelerator": "cpu", **quiet, **settings}, callbacks=[witness])
    trainer.fit(module, data())
    return witness


def column(witness, name):
    return [getattr(record, name) for record in witness.records]


def test_a_plain_step_is_recorded_as_computed_by_hand():
    module = Classifier()
    witness = fit(module, Witness())
    assert column(witness, "step") == list(range(7))
    assert column(witness, "stepped") == [True] * 7
    assert column(witness, "learning_rate") == [0.1] * 7
    assert column(witness, "loss") == pytest.approx(module.losses, rel=1e-6)
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)
    assert column(witness, "grad_norm_clipped") == pytest.approx(witness.before, rel=1e-5)
    assert column(witness, "update_norm") == pytest.approx(witness.updates, rel=1e-4)
    # SGD: Δw = -lr·g, so |g·Δw| = lr·|g|² and |Δw| = lr·|g|.
    assert column(witness, "predicted") == pytest.approx([0.1 * n**2 for n in witness.before], rel=1e-4)
    assert column(witness, "no_grad_share") == [0.0] * 7


def test_groups_are_the_modules_and_their_norms_make_up_the_global_norm():
    witness = fit(Classifier(), Witness())
    assert witness.recorder.groups == ("body", "head")
    for record in witness.records:
        assert math.hypot(*record.group_norms) == pytest.approx(record.grad_norm, rel=1e-6)


def test_norms_are_recorded_before_and_after_clipping():
    witness = fit(Classifier(), Witness(), gradient_clip_val=0.05)
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)
    assert column(witness, "grad_norm_clipped") == pytest.approx(witness.after, rel=1e-5)
    assert max(column(witness, "grad_norm_clipped")) < 0.0501 < min(column(witness, "grad_norm"))
    # The loss changes by the gradient itself, not by the clipped one.
    for record in witness.records:
        assert record.predicted == pytest.approx(record.grad_norm * record.update_norm, rel=1e-4)


def test_clipping_by_an_overridden_method_is_recorded():
    class Halves(Classifier):
        def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
            for p in self.parameters():
                p.grad.mul_(0.5)

    witness = fit(Halves(), Witness())
    assert column(witness, "grad_norm_clipped") == pytest.approx([n / 2 for n in witness.before], rel=1e-5)


def test_accumulated_batches_make_one_record_and_the_last_ones_may_be_fewer():
    module = Classifier()
    witness = fit(module, Witness(), accumulate_grad_batches=3)  # 7 batches: 3 + 3 + 1
    windows = [module.losses[:3], module.losses[3:6], module.losses[6:]]
    assert column(witness, "loss") == pytest.approx([sum(w) / len(w) for w in windows], rel=1e-6)
    assert column(witness, "step") == [0, 1, 2]
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)


def test_bf16_gradients_are_measured_in_float32():
    module = Classifier()
    witness = fit(module, Witness(), precision="bf16-mixed")
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)
    assert column(witness, "loss") == pytest.approx(module.losses, rel=1e-5)


def test_pure_bf16_weights_give_finite_norms():
    witness = fit(Classifier(), Witness(), precision="bf16-true")
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-2)
    assert all(0 < norm < math.inf for norm in column(witness, "update_norm"))


def fp16(scale=1024.0):
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))


def test_fp16_norms_are_unscaled():
    module = Classifier()
    witness = fit(module, Witness(), plugins=[fp16()])
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)
    assert column(witness, "loss") == pytest.approx(module.losses, rel=1e-5)
    assert max(column(witness, "grad_norm")) < 10


def test_a_step_that_the_scaler_skips_is_recorded_as_not_stepped():
    class Overflows(Classifier):
        def on_after_backward(self):
            if len(self.losses) == 3:
                self.head.bias.grad.fill_(float("inf"))

    witness = fit(Overflows(), Witness(), plugins=[fp16()])
    assert column(witness, "stepped") == [True, True, False, True, True, True, True]
    assert witness.updates[2] == 0
    assert not math.isfinite(witness.records[2].grad_norm)
    assert witness.records[2].update_norm is None


class Fused(Classifier):
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1, fused=True)


def test_gradients_of_a_fused_optimizer_that_unscales_within_its_step_are_measured_after_it():
    witness = fit(Fused(), Witness(), plugins=[fp16()])
    assert column(witness, "grad_norm") == pytest.approx(witness.after, rel=1e-5)
    assert max(column(witness, "grad_norm")) < 10
    assert min(witness.before) > 100  # the gradients before the step are scaled


def test_a_fused_step_that_the_scaler_skips_is_recorded_as_not_stepped():
    class Overflows(Fused):
        def on_after_backward(self):
            if len(self.losses) == 3:
                self.head.bias.grad.fill_(float("inf"))

    witness = fit(Overflows(), Witness(), plugins=[fp16()])
    assert column(witness, "stepped") == [True, True, False, True, True, True, True]


class Players(L.LightningModule):
    """Two optimizers in manual optimization, the second of which also sees gradients of the first loss."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(8, 8), nn.Linear(8, 1)
        self.generator_losses, self.critic_losses = [], []

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        losses = (-self.critic(self.generator(batch[0])).mean(), self.critic(batch[0]).square().mean())
        kept = (self.generator_losses, self.critic_losses)
        for optimizer, loss, values in zip(optimizers, losses, kept, strict=True):
            values.append(loss.item())
            optimizer.zero_grad()
            self.manual_backward(loss, retain_graph=True, inputs=optimizer.param_groups[0]["params"])
            optimizer.step()

    def configure_optimizers(self):
        first = torch.optim.SGD(self.generator.parameters(), lr=0.01)
        return first, torch.optim.Adam(self.critic.parameters(), lr=0.02)


def test_two_optimizers_in_manual_optimization_have_their_own_losses_norms_and_rates():
    module = Players()
    witness = fit(module, Witness())
    first = [record for record in witness.records if record.optimizer == 0]
    second = [record for record in witness.records if record.optimizer == 1]
    assert [record.loss for record in first] == pytest.approx(module.generator_losses, rel=1e-6)
    assert [record.loss for record in second] == pytest.approx(module.critic_losses, rel=1e-6)
    assert [record.grad_norm for record in first] == pytest.approx(witness.before[0::2], rel=1e-5)
    assert [record.grad_norm for record in second] == pytest.approx(witness.before[1::2], rel=1e-5)
    assert {record.learning_rate for record in second} == {0.02}
    assert [record.step for record in second] == list(range(7))  # the x of train_loss, not global_step
    assert all(record.group_norms[1] is None for record in first)


def test_many_steps_in_one_batch_make_many_records():
    class ManySteps(Players):
        def training_step(self, batch, batch_idx):
            for _ in range(6):
                super().training_step(batch, batch_idx)

    assert len(fit(ManySteps(), Witness()).records) == 7 * 6 * 2


def test_lbfgs_makes_one_record_with_the_norm_of_its_last_evaluation():
    witness = fit(QuasiNewton(), Witness())
    assert len(witness.records) == 7
    assert len(witness.before) == 21
    assert column(witness, "grad_norm") == pytest.approx(witness.before[2::3], rel=1e-5)
    assert column(witness, "update_norm") == pytest.approx(witness.updates, rel=1e-4)
    assert column(witness, "predicted") == [None] * 7


@pytest.mark.filterwarnings("ignore:.*`training_step` returned `None`")
def test_a_step_without_a_loss_is_recorded_as_not_stepped():
    class Skips(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 2 else loss

    witness = fit(Skips(), Witness())
    assert witness.records[2].loss is None
    assert witness.records[2].grad_norm is None
    assert witness.records[2].no_grad_share is None
    assert column(witness, "stepped") == [True, True, False, True, True, True, True]


def test_unused_parameters_count_as_without_gradient_and_frozen_ones_do_not():
    class PartlyTrained(Classifier):
        def __init__(self):
            super().__init__()
            self.body.requires_grad_(requires_grad=False)
            self.unused = nn.Linear(8, 16)

    witness = fit(PartlyTrained(), Witness())
    unused, used = 8 * 16 + 16, 16 * 3 + 3
    assert column(witness, "no_grad_share") == pytest.approx([unused / (unused + used)] * 7)
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)


def test_without_any_gradient_the_share_without_gradient_is_1_and_no_step_is_taken():
    class Detached(Classifier):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx).detach().requires_grad_()

    witness = fit(Detached(), Witness())
    assert column(witness, "no_grad_share") == [1.0] * 7
    assert column(witness, "stepped") == [False] * 7
    assert column(witness, "grad_norm") == [None] * 7


def test_tied_weights_count_once():
    class Tied(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
            self.decoder.weight = self.encoder.weight

        def training_step(self, batch, batch_idx):
            return (self.decoder(self.encoder(batch[0])) - batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    witness = fit(Tied(), Witness())
    assert witness.recorder.groups == ("encoder",)
    assert column(witness, "grad_norm") == pytest.approx(witness.after, rel=1e-5)


def test_sparse_gradients_are_measured():
    class Sparse(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(3, 4, sparse=True), nn.Linear(4, 1)

        def training_step(self, batch, batch_idx):
            return self.head(self.table(batch[1])).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    witness = fit(Sparse(), Witness())
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)


def test_a_parameter_group_that_fine_tuning_adds_is_measured_from_then_on():
    class Unfreezes(Classifier):
        def configure_optimizers(self):
            return torch.optim.SGD(self.head.parameters(), lr=0.1)

        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 4:
                self.optimizers().optimizer.add_param_group({"params": list(self.body.parameters()), "lr": 0.2})

    witness = fit(Unfreezes(), Witness())
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)
    assert column(witness, "learning_rate") == [0.1] * 4 + [0.2] * 3


@pytest.mark.filterwarnings("ignore:.*this fit will run with no optimizer")
def test_losses_are_recorded_where_optimizers_step_within_the_backward_pass():
    class InBackward(Classifier):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self):
            return None

        def on_train_start(self):
            for p in self.parameters():
                optimizer = torch.optim.SGD([p], 0.1)
                p.register_post_accumulate_grad_hook(lambda p, optimizer=optimizer: optimizer.step())

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            return loss

    module = InBackward()
    witness = fit(module, Witness())
    assert not witness.recorder.saw_optimizer
    assert column(witness, "loss") == pytest.approx(module.losses, rel=1e-6)
    assert column(witness, "grad_norm") == [None] * 7


def test_a_learning_rate_that_is_a_tensor_is_recorded():
    class Capturable(Classifier):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=torch.tensor(0.03))

    assert column(fit(Capturable(), Witness()), "learning_rate") == pytest.approx([0.03] * 7)


@pytest.mark.parametrize("rate", [{}, {"lr": None}])
def test_the_learning_rate_of_an_optimizer_without_one_is_unknown(rate):
    class Own(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, dict(rate))

        def step(self, closure=None):
            loss = closure()
            for parameter in self.param_groups[0]["params"]:
                parameter.data.sub_(parameter.grad, alpha=0.1)
            return loss

    class WithOwn(Classifier):
        def configure_optimizers(self):
            return Own(self.parameters())

    witness = fit(WithOwn(), Witness())
    assert column(witness, "learning_rate") == [None] * 7
    assert all(record.update_norm > 0 for record in witness.records)
    progress = Progress(7)
    for record in witness.records:
        progress.update(record)
    assert progress.schedule is None


def test_a_norm_is_measured_of_an_optimizer_that_never_steps_where_norms_are_measured():
    class EverySecondBatch(Classifier):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            for i, optimizer in enumerate(self.optimizers()):
                if i == 0 or batch_idx % 2 == 0:
                    optimizer.zero_grad()
                    self.manual_backward(super().training_step(batch, batch_idx))
                    optimizer.step()

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=rate) for rate in (0.1, 0.01)]

    witness = fit(EverySecondBatch(), Witness(norm_every_n_steps=2, updates_every=2), log_every_n_steps=2)
    second = [record for record in witness.records if record.optimizer == 1]
    assert [record.grad_norm is not None for record in second] == [True, False, True, False]


def test_each_step_of_an_optimizer_that_steps_twice_in_a_batch_has_its_own_update():
    class Twice(Classifier):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            for _ in range(2):
                self.optimizers().zero_grad()
                self.manual_backward(super().training_step(batch, batch_idx))
                self.optimizers().step()

    witness = fit(Twice(), Witness(updates_every=2))
    measured = [record.update_norm for record in witness.records]
    assert [update is not None for update in measured] == [True, False] * 7
    assert all(update < 1 for update in measured[::2])


def test_gradients_are_measured_every_n_steps_and_at_logged_steps():
    witness = fit(Classifier(), Witness(norm_every_n_steps=3, updates_every=2), log_every_n_steps=5)
    measured = [record.grad_norm is not None for record in witness.records]
    assert measured == [
        False,
        False,
        True,
        False,
        True,
        True,
        False,
    ]  # the third, the sixth, and the fifth, which is logged
    assert [record.update_norm is not None for record in witness.records] == [True, False] * 3 + [True]
    assert all(record.loss is not None for record in witness.records)


class EverySecondBatch(Classifier):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        optimizer_closure()
        if batch_idx % 2:
            optimizer.step()


class SometimesNothing(Classifier):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return None if batch_idx % 3 == 1 else loss


class QuasiNewton(Classifier):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class Manual(Classifier):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        if batch_idx % 3:
            self.optimizers().step()
            self.optimizers().zero_grad()
        return loss


class Accumulating(Witness):
    """Changes the accumulation from epoch to epoch, as Lightning's `GradientAccumulationScheduler` does."""

    def on_train_epoch_start(self, trainer, pl_module):
        trainer.accumulate_grad_batches = 1 + 3 * (trainer.current_epoch % 2)


AUTOMATIC = [Classifier, EverySecondBatch, SometimesNothing, QuasiNewton, Fused]


@pytest.mark.parametrize(
    ("module", "settings"),
    [(module, settings) for module in [*AUTOMATIC, Manual] for settings in ({}, {"max_epochs": 2})]
    + [(module, {"accumulate_grad_batches": 3}) for module in AUTOMATIC],  # not allowed in manual optimization
)
def test_plain_steps_have_the_same_records_as_measured_ones_besides_the_measurements(module, settings):
    measured, plain = (fit(module(), Witness(norm_every_n_steps=n, updates_every=n), **settings) for n in (1, 10))
    assert [record[:5] for record in plain.records] == [record[:5] for record in measured.records]
    assert sum(record.grad_norm is not None for record in plain.records) <= 1


@pytest.mark.parametrize("batches", [1, 3, 7])
def test_accumulation_that_begins_at_a_plain_step_is_recorded(batches):
    settings = {"max_epochs": 4, "limit_train_batches": batches}
    measured, plain = (
        fit(Classifier(), Accumulating(norm_every_n_steps=n, updates_every=n), **settings) for n in (1, 50)
    )
    assert [record[:5] for record in plain.records] == [record[:5] for record in measured.records]


class Decaying(Classifier):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def test_the_learning_rate_is_read_at_steps_that_are_not_plain():
    witness = fit(Decaying(), Witness(norm_every_n_steps=3, updates_every=100))
    assert column(witness, "learning_rate") == [0.1, 0.1, 0.1 / 4, 0.1 / 4, 0.1 / 4, 0.1 / 32, 0.1 / 32]


def test_weights_above_the_limit_are_not_copied():
    witness = fit(Classifier(), Witness(max_copy_bytes=100))
    assert column(witness, "update_norm") == [None] * 7
    assert column(witness, "grad_norm") == pytest.approx(witness.before, rel=1e-5)


class Wide(Classifier):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 512), nn.Linear(512, 512))
        self.head = nn.Linear(512, 3)


@pytest.mark.parametrize(("limit", "copied"), [(512 * 512 * 4, True), (512 * 512 * 4 // 8, False)])
def test_only_the_sample_of_a_large_tensor_counts_towards_the_limit(limit, copied):
    witness = fit(Wide(), Witness(updates_every=1, max_copy_bytes=limit))
    assert all((norm is not None) is copied for norm in column(witness, "update_norm"))


@pytest.mark.parametrize("norm_every_n_steps", [1, 3, 6])
def test_a_recorder_that_loads_a_state_continues_with_the_same_records(norm_every_n_steps):
    settings = {"norm_every_n_steps": norm_every_n_steps, "updates_every": 3}
    straight = fit(Decaying(), Witness(**settings)).records

    class Stops(Witness):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            if batch_idx == 3:
                state = torch.load(saved(self.recorder.state_dict()), weights_only=True)
                self.recorder.detach()
                self.recorder = StepRecorder(**settings)
                self.recorder.attach(LightningHost(trainer, pl_module), Intervals())
                self.recorder.load_state_dict(state)

    assert fit(Decaying(), Stops(**settings)).records == straight


def test_a_state_that_is_saved_at_a_plain_step_loses_no_step_where_accumulation_begins():
    class Changes(Witness):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            if batch_idx == 2:
                trainer.accumulate_grad_batches = 2
                state = self.recorder.state_dict()
                self.recorder.attach(LightningHost(trainer, pl_module), Intervals())
                self.recorder.load_state_dict(state)

    measured, plain = (fit(Classifier(), Changes(norm_every_n_steps=n, updates_every=n)) for n in (1, 50))
    assert len(measured.records) == 6
    assert [record[:5] for record in plain.records] == [record[:5] for record in measured.records]


def saved(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_detaching_leaves_no_hook_behind():
    module = Classifier()
    witness = fit(module, Witness())
    assert not module.trainer.optimizers[0]._optimizer_step_post_hooks
    assert witness.recorder.waiting == 0


@pytest.mark.parametrize("name", ["norm_every_n_steps", "updates_every"])
def test_an_interval_below_one_is_refused_with_its_value(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        StepRecorder(**{name: 0})


class LongRun(Witness):
    """Attaches the recorder to a run of `horizon` steps."""

    def __init__(self, horizon, **settings):
        super().__init__(**{"norm_every_n_steps": None, "updates_every": None, **settings})
        self.intervals = Intervals(horizon)

    def on_train_start(self, trainer, pl_module):
        self.recorder.attach(LightningHost(trainer, pl_module), self.intervals)


def measured_steps(witness, name):
    return [record.step for record in witness.records if getattr(record, name) is not None]


@pytest.mark.parametrize(
    ("horizon", "norms", "updates"),
    [(None, 10, 10), (2000, 10, 10), (6000, 10, 30), (30_000, 30, 150)],
)
def test_intervals_between_measurements_grow_with_the_length_of_the_run(horizon, norms, updates):
    intervals = Intervals(horizon)
    assert (intervals.norm_every_n_steps, intervals.updates_every(1)) == (norms, updates)
    witness = fit(Classifier(), LongRun(horizon), max_epochs=6, log_every_n_steps=0)
    assert measured_steps(witness, "grad_norm") == [step for step in range(42) if (step + 1) % norms == 0]
    assert measured_steps(witness, "update_norm") == list(range(0, 42, updates))


@pytest.mark.parametrize("horizon", [200, 500, 1000, 5000, 100_000])
def test_the_shortest_window_of_progress_holds_enough_measured_updates_of_the_largest_model(horizon):
    window = SHORT_WINDOW * LossHistory(horizon).width
    assert window // Intervals(horizon).updates_every(2) >= 4  # `fit_trend` asks for three


def test_many_parameters_are_copied_half_as_often():
    class Large(Classifier):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 16_000)
            self.head = nn.Linear(16_000, 3)

    witness = fit(Large(), LongRun(None), max_epochs=4)
    assert measured_steps(witness, "update_norm") == [0, 20]
    assert column(witness, "update_norm")[20] == pytest.approx(witness.updates[20], rel=1e-4)


def test_tensors_of_several_buckets_and_dtypes_have_the_exact_update(monkeypatch):
    from lightning_landscape.recording import updates

    class Mixed(Classifier):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 16).double(), nn.Linear(16, 3)

        def forward(self, x):
            return self.head(torch.tanh(self.body(x.double())).float())

    monkeypatch.setattr(updates, "BUCKET", 20)
    module = Mixed()
    witness = fit(module, Witness())
    assert len(updates.buckets_of(list(module.parameters()))) == 4
    assert column(witness, "update_norm") == pytest.approx(witness.updates, rel=1e-4)
    assert column(witness, "predicted") == pytest.approx([0.1 * n**2 for n in witness.before], rel=1e-4)


def test_between_batches_no_graph_and_no_weights_are_kept_alive():
    class Keeps(Witness):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            steps = self.recorder._finished_steps
            losses = [step.loss if isinstance(step, PendingStep) else step for step in steps]
            assert all(loss is None or (loss.grad_fn is None and loss.numel() == 1) for loss in losses)
            records = self.recorder._optimizer_records.values()
            assert all(record.pending_step is None and record.update is None for record in records)

    assert len(fit(Classifier(), Keeps()).records) == 7
    assert len(fit(Classifier(), Keeps(norm_every_n_steps=4)).records) == 7


def test_a_loss_that_the_user_overwrites_later_is_recorded_as_it_was():
    class Reuses(Classifier):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.latest_loss = torch.zeros(())

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            optimizer.step()
            return self.latest_loss.copy_(loss.detach())

    module = Reuses()
    assert column(fit(module, Witness()), "loss") == pytest.approx(module.losses, rel=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recording_a_step_never_waits_for_the_device():
    class Strict(LongRun):
        """Any synchronisation in a hook of the recorder is an error."""

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            with unsynchronised():
                self.recorder.before_step(optimizer)

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            with unsynchronised():
                self.recorder.end_batch(outputs)

        def on_train_start(self, trainer, pl_module):
            after = self.recorder._after_step

            def strictly(*args):
                with unsynchronised():
                    after(*args)

            self.recorder._after_step = strictly
            super().on_train_start(trainer, pl_module)

        def on_train_batch_start(self, *args):
            """Compute nothing here, since the sums of `Witness` wait for the device."""

    witness = fit(
        Classifier(),
        Strict(None, norm_every_n_steps=1, updates_every=1),
        accelerator="gpu",
        devices=1,
        gradient_clip_val=0.5,
    )
    assert len(witness.records) == 7
    assert all(record.update_norm > 0 for record in witness.records)


@contextlib.contextmanager
def unsynchronised():
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
