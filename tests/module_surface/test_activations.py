"""Outputs of the activation layers of a LightningModule, recorded through its surface during training."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn.modules import module as registry
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import PlateauWarning, SurfaceError
from lightning_landscape.evidence import Activity, Cause
from tests.module_surface.observers import Prober

ROWS = torch.tensor([[1.0, -2.0], [3.0, -4.0]])


class Around(L.LightningModule):
    """A module that trains a scale around a network, and may call a layer that is not one of its submodules."""

    def __init__(self, net, elsewhere=None):
        super().__init__()
        self.net, self.scale, self._elsewhere = net, nn.Parameter(torch.ones(())), [elsewhere]

    def training_step(self, batch, batch_idx):
        output = self.net(batch[0])
        if self.scale > 5:
            raise RuntimeError("so far away the step fails")
        output = output if self._elsewhere[0] is None else self._elsewhere[0](output)
        return self.scale * output.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Once(Prober):
    """Apply the probe to the surface of the first batch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.examine(trainer, pl_module)

    def on_train_epoch_end(self, *args): ...


def probed(probe, module, inputs=ROWS):
    """Return what the probe returns for the surface of the module."""
    once = Once(probe, batches=1)
    trainer = L.Trainer(
        max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[once],
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(inputs), batch_size=len(inputs)))
    assert not once.refusals
    return once.readings[0]


def watch(net, inputs=ROWS, **settings):
    return probed(lambda surface: surface.run.activations(surface.here, **settings), Around(net), inputs)


def test_activation_layers_are_recorded_by_name_with_their_kind():
    seen = watch(nn.Sequential(nn.Identity(), nn.ReLU(), nn.Sequential(nn.Tanh())))
    assert {name: output.kind for name, output in seen.items()} == {"net.1": "ReLU", "net.2.0": "Tanh"}
    assert seen["net.1"].values.tolist() == [[1.0, 0.0], [3.0, 0.0]]


def test_outputs_are_those_at_the_given_point():
    def probe(surface):
        return [surface.run.activations({**surface.here, "net.0.weight": torch.full((1, 2), w)}) for w in (0.0, 1.0)]

    net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Tanh())
    at_zero, at_one = probed(probe, Around(net))
    assert at_zero["net.1"].values.tolist() == [[0.0], [0.0]]
    assert at_one["net.1"].values.tolist() == torch.tanh(ROWS.sum(1, keepdim=True)).tolist()


def test_all_dimensions_but_the_first_are_units():
    images = torch.ones(5, 2, 3, 4)
    assert watch(nn.ReLU(), images)["net"].values.shape == (5, 24)
    assert watch(nn.ReLU(), torch.ones(5))["net"].values.shape == (1, 5)


def test_both_calls_of_a_layer_are_recorded():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x) + self.act(-x)

    assert watch(Twice())["net.act"].values.tolist() == [[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 4.0]]


def test_calls_with_another_number_of_units_are_left_out():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x).sum() + self.act(x[:, :1]).sum()

    assert watch(Growing())["net.act"].values.shape == (2, 2)


def test_of_a_large_output_the_first_samples_are_kept():
    assert watch(nn.ReLU(), torch.ones(1000, 10), max_values=50)["net"].values.shape == (5, 10)
    assert watch(nn.ReLU(), torch.ones(1000, 100), max_values=50)["net"].values.shape == (1, 100)


def test_layers_of_other_modules_and_other_kinds_are_not_recorded():
    module = Around(nn.Sequential(nn.GELU(), nn.Linear(2, 2)), elsewhere=nn.ReLU())
    assert probed(lambda surface: surface.run.activations(surface.here), module) == {}


def test_a_layer_that_is_not_called_is_left_out():
    class First(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    assert watch(First(nn.ReLU(), nn.Tanh())).keys() == {"net.0"}


class Functional(nn.Module):
    """A block that calls these functions between two layers."""

    def __init__(self, *functions):
        super().__init__()
        self.first, self.functions, self.second = nn.Linear(2, 2), functions, nn.Linear(2, 1)

    def forward(self, x):
        x = self.first(x)
        for function in self.functions:
            x = function(x)
        return self.second(x)


@pytest.mark.parametrize(
    ("function", "name", "kind"),
    [
        (nn.functional.relu, "relu", "ReLU"),
        (torch.relu, "relu", "ReLU"),
        (torch.Tensor.relu_, "relu", "ReLU"),
        (lambda x: x.clamp(min=0), "clamp", "ReLU"),
        (lambda x: torch.clamp_min(x, 0.0), "clamp_min", "ReLU"),
        (nn.functional.relu6, "hardtanh", "Hardtanh"),
        (torch.sigmoid, "sigmoid", "Sigmoid"),
        (torch.Tensor.tanh, "tanh", "Tanh"),
    ],
)
def test_activation_functions_are_named_after_the_module_that_calls_them(function, name, kind):
    seen = watch(Functional(function))
    if name == "hardtanh":  # what `relu6` calls is torch's own affair
        name, kind = "relu6", "ReLU6"
    assert {key: output.kind for key, output in seen.items()} == {f"{name} of net": kind}
    assert seen[f"{name} of net"].values.shape == (2, 2)


def test_several_calls_of_a_function_in_one_forward_are_numbered():
    assert watch(Functional(torch.relu, torch.relu, torch.tanh)).keys() == {
        "relu 1 of net", "relu 2 of net", "tanh of net"
    }  # fmt: skip


def test_a_function_is_recorded_with_the_samples_of_all_its_calls():
    block = Functional(torch.relu)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, x):
            return self.block(x) + self.block(-x)

    seen = watch(Twice())
    assert seen.keys() == {"relu of net.block"}
    assert seen["relu of net.block"].values.shape == (4, 2)


@pytest.mark.parametrize(
    "function",
    [nn.functional.gelu, lambda x: x.clamp(min=0.1), lambda x: x.clamp(0, 1), lambda x: x + torch.relu(x).sum().item()],
    ids=["gelu", "another bound", "two bounds", "not used by a layer"],
)
def test_other_functions_are_not_recorded(function):
    assert watch(Functional(function)) == {}


def test_functions_inside_an_activation_layer_are_not_counted_twice():
    assert watch(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))).keys() == {"net.1"}


def test_a_layer_that_is_no_submodule_is_seen_by_the_function_that_it_calls():
    assert watch(Functional(nn.ReLU())).keys() == {"relu of net"}


def test_the_relu_of_a_hinge_loss_is_no_activation_function():
    class Hinge(Around):
        def training_step(self, batch, batch_idx):
            return torch.relu(1 - self.scale * self.net(batch[0])).mean()

    assert probed(lambda surface: surface.run.activations(surface.here), Hinge(nn.Linear(2, 2))) == {}


def test_a_last_relu_before_the_loss_is_recorded_in_a_module_with_weights():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return torch.relu(self.layer(x))

    assert watch(Last()).keys() == {"relu of net"}


def test_a_layer_that_gets_no_sample_has_no_dead_units():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.used(x).sum() + self.unused(x[:0]).sum()

    assert watch(Routed()).keys() == {"net.used"}


@pytest.mark.parametrize("fails", [False, True])
def test_no_hook_is_left_behind_and_no_graph_is_made(fails):
    def probe(surface):
        far = {**surface.here, "scale": torch.tensor(6.0)}
        if fails:
            with pytest.raises(SurfaceError, match="so far away the step fails"):
                surface.run.activations(far)
        else:
            assert not surface.run.activations(surface.here)["net.1"].values.requires_grad
        loss = float(surface.loss(surface.here))
        assert not module.net[1]._forward_hooks
        return loss

    module = Around(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    before = dict(registry._global_forward_hooks)
    with torch.no_grad():
        expected = float(module.net(ROWS).sum())
    assert probed(probe, module) == pytest.approx(expected)
    assert dict(registry._global_forward_hooks) == before
    assert not any(layer._forward_hooks for layer in module.modules())


class Regression(L.LightningModule):
    """A model that learns nothing, since its activations are constant."""

    def __init__(self, activation, bias):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), activation, nn.Linear(16, 1))
        nn.init.constant_(self.net[0].bias, bias)
        nn.init.zeros_(self.net[2].weight)  # its outputs begin at the mean of the targets, the best constant

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return nn.functional.mse_loss(self.net(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.parametrize(
    ("activation", "bias", "words"),
    [
        (nn.ReLU(), -100.0, "In net.1 100% of the units are zero on all 160 samples"),
        (nn.Tanh(), 100.0, "In net.1 100% of the outputs lie at the bounds of the activation"),
    ],
    ids=["dead", "saturated"],
)
def test_the_verdict_of_a_run_names_dead_or_saturated_units(activation, bias, words):
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(256, 4, generator=generator), torch.tensor([[1.0], [-1.0]]).repeat(128, 1)
    torch.manual_seed(0)
    monitor = LandscapeMonitor()
    trainer = L.Trainer(
        max_epochs=25, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[monitor],
    )  # fmt: skip
    with pytest.warns(PlateauWarning, match=r"\[LL202\]"):
        trainer.fit(Regression(activation, bias), DataLoader(TensorDataset(inputs, targets), batch_size=32))
    assert monitor.verdict.cause is Cause.FLAT_REGION
    assert words in monitor.verdict.reason
    assert monitor.verdict.evidence.get(Activity).layers == 1
