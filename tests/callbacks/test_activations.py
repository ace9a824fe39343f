"""What activation layers put out, on plain modules and on a LightningModule in the midst of its training."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn.modules import module as registry
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.callbacks.activations import watch_activations
from lightning_landscape.errors import PlateauWarning
from lightning_landscape.evidence import Activity, Cause

ROWS = torch.tensor([[1.0, -2.0], [3.0, -4.0]])


def watch(module, inputs=ROWS, **settings):
    return watch_activations(module, lambda params: module(inputs).sum(), {}, **settings)


def test_every_activation_layer_is_seen_by_its_name_and_kind():
    seen = watch(nn.Sequential(nn.Identity(), nn.ReLU(), nn.Sequential(nn.Tanh())))
    assert {name: output.kind for name, output in seen.items()} == {"1": "ReLU", "2.0": "Tanh"}
    assert seen["1"].values.tolist() == [[1.0, 0.0], [3.0, 0.0]]


def test_everything_behind_the_first_dimension_is_a_unit():
    images = torch.ones(5, 2, 3, 4)
    assert watch(nn.ReLU(), images)[""].values.shape == (5, 24)
    assert watch(nn.ReLU(), torch.ones(5))[""].values.shape == (1, 5)


def test_a_layer_that_is_used_twice_shows_both_uses():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x) + self.act(-x)

    assert watch(Twice())["act"].values.tolist() == [[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 4.0]]


def test_calls_of_another_width_are_left_out():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x).sum() + self.act(x[:, :1]).sum()

    assert watch(Growing())["act"].values.shape == (2, 2)


def test_of_a_large_layer_the_first_rows_are_kept():
    assert watch(nn.ReLU(), torch.ones(1000, 10), max_values=50)[""].values.shape == (5, 10)
    assert watch(nn.ReLU(), torch.ones(1000, 100), max_values=50)[""].values.shape == (1, 100)


def test_layers_of_other_modules_and_other_kinds_are_not_looked_at():
    elsewhere, module = nn.ReLU(), nn.Sequential(nn.GELU(), nn.Linear(2, 2))
    assert watch_activations(module, lambda params: elsewhere(module(ROWS)).sum(), {}) == {}


def test_a_layer_that_is_not_called_is_not_there():
    module = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    assert watch_activations(module, lambda params: module[0](ROWS).sum(), {}).keys() == {"0"}


@pytest.mark.parametrize("fails", [False, True])
def test_no_hook_is_left_behind_and_no_graph_is_made(fails):
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    before = dict(registry._global_forward_hooks)

    def loss(params):
        output = module(ROWS)
        assert not output.requires_grad
        if fails:
            raise RuntimeError("the step fails")
        return output.sum()

    if fails:
        with pytest.raises(RuntimeError, match="the step fails"):
            watch_activations(module, loss, {})
    else:
        assert not watch_activations(module, loss, {})["1"].values.requires_grad
    assert dict(registry._global_forward_hooks) == before
    assert not module[1]._forward_hooks


class Regression(L.LightningModule):
    """Learns nothing, since its activations let nothing pass."""

    def __init__(self, activation, bias):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), activation, nn.Linear(16, 1))
        nn.init.constant_(self.net[0].bias, bias)
        nn.init.zeros_(self.net[2].weight)  # it starts at the best constant, the mean

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return nn.functional.mse_loss(self.net(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.parametrize(
    ("activation", "bias", "words"),
    [
        (nn.ReLU(), -100.0, "In net.1 100% of the units are zero on all 64 samples"),
        (nn.Tanh(), 100.0, "In net.1 100% of the values sit at the activation's bounds"),
    ],
    ids=["dead", "saturated"],
)
def test_a_run_behind_dead_or_saturated_units_is_told_so(activation, bias, words):
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
