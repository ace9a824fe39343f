"""What one evaluation shows of the outputs of a network: layers next to the loss, loss functions, targets, softmax."""

from dataclasses import replace

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.probes import outputs
from tests.module_surface.observers import Prober

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 3


class Step(L.LightningModule):
    """A module whose training step is given as a function of itself and the batch."""

    def __init__(self, step, **layers):
        super().__init__()
        self.step = step
        for name, layer in layers.items():
            setattr(self, name, layer)

    def training_step(self, batch, batch_idx):
        return self.step(self, *batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Once(Prober):
    """Apply the probe to the surface of the last batches."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            self.examine(trainer, pl_module)

    def on_train_epoch_end(self, *args): ...


def probed(probe, module):
    """Return what the probe returns for the surface of the module, which has two batches of 8 samples."""
    once = Once(probe, batches=4)
    trainer = L.Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[once],
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(INPUTS, LABELS), batch_size=8))
    assert not once.refusals
    return once.readings[0]


def seen(step, **layers):
    return probed(lambda surface: surface.run.outputs(surface.here), Step(step, **layers))


def next_to_loss(observed):
    return [layer.layer for layer in observed.layers if layer.next_to_loss]


def test_the_last_layer_is_next_to_the_loss_and_the_others_are_not():
    observed = seen(
        lambda self, x, y: functional.cross_entropy(self.net(x).relu(), y),
        net=nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
    )
    assert [layer.layer for layer in observed.layers] == ["net.0", "net.1", "net.3"]
    assert next_to_loss(observed) == ["net.3"]
    assert observed.layers[0].values.shape == (8, 5)


def test_both_branches_of_a_loss_are_next_to_it_and_a_detached_one_as_well():
    observed = seen(
        lambda self, x, y: functional.cosine_similarity(self.head(self.body(x)), self.body(x).detach()).mean(),
        body=nn.Linear(4, 5),
        head=nn.Linear(5, 5),
    )
    assert next_to_loss(observed) == ["head", "body"]


def test_a_layer_that_the_loss_does_not_use_is_not_next_to_it():
    def step(self, x, y):
        self.unused(x)
        return self.used(x).square().mean()

    assert next_to_loss(seen(step, used=nn.Linear(4, 2), unused=nn.Linear(4, 2))) == ["used"]


def test_weights_outside_of_layers_make_a_layer_and_a_scale_does_not():
    class Own(Step):
        def __init__(self, step):
            super().__init__(step)
            self.matrix, self.scale = nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(()))

    module = Own(lambda self, x, y: (self.scale.exp() * (x @ functional.normalize(self.matrix))).square().mean())
    observed = probed(lambda surface: surface.run.outputs(surface.here), module)
    assert [(layer.layer, layer.next_to_loss) for layer in observed.layers] == [("training_step", True)]


def test_the_loss_of_mean_outputs_is_that_of_a_constant():
    def probe(surface):
        observed = surface.run.outputs(surface.here)
        return observed.layers[0].values.mean(0), observed.loss_of_means()

    module = Step(lambda self, x, y: functional.mse_loss(self.net(x), x), net=nn.Linear(4, 4))
    mean, loss = probed(probe, module)
    assert loss == pytest.approx(functional.mse_loss(mean.expand(8, 4), INPUTS[:8]).item(), rel=1e-5)


def test_in_sequences_with_the_batch_second_samples_are_compared():
    def step(self, x, y):
        return self.net(x.repeat(3, 1, 1)).square().mean()

    observed = seen(step, net=nn.Linear(4, 2))
    assert observed.layers[0].values.shape == (8, 6)


def test_loss_functions_are_seen_with_their_settings_and_targets():
    observed = seen(lambda self, x, y: nn.CrossEntropyLoss(label_smoothing=0.1)(self.net(x), y), net=nn.Linear(4, 3))
    (call,) = observed.loss_calls
    assert call.function is functional.cross_entropy
    assert call.settings["label_smoothing"] == 0.1
    assert call.target.tolist() == LABELS[:8].tolist()
    assert [target.flatten().tolist() for target in observed.targets] == [LABELS[:8].tolist()]


def test_what_the_model_takes_as_input_is_no_target():
    def step(self, x, y):
        return functional.mse_loss(self.net(x + self.classes(y)), x)

    assert seen(step, net=nn.Linear(4, 4), classes=nn.Embedding(3, 4)).targets == ()


class Sequences(nn.Module):
    """Attention over the inputs as a sequence of three tokens, with scores times `scale`."""

    def __init__(self, attend, scale):
        super().__init__()
        self.project, self.out, self.attend, self.scale = nn.Linear(4, 4), nn.Linear(4, 3), attend, scale

    def forward(self, x):
        tokens = torch.stack([x, 2 * x, -x], 1)
        return self.out(self.attend(self.project(tokens) * self.scale, tokens))[:, 0]


def by_hand(query, tokens):
    return (query @ query.mT).softmax(-1) @ tokens


def by_torch(query, tokens):
    return functional.scaled_dot_product_attention(query, query, tokens)


@pytest.mark.parametrize("attend", [by_hand, by_torch])
@pytest.mark.parametrize(("scale", "saturated"), [(1e-3, False), (1e4, True)])
def test_a_saturated_attention_is_seen(attend, scale, saturated):
    observed = seen(lambda self, x, y: functional.cross_entropy(self.net(x), y), net=Sequences(attend, scale))
    assert list(observed.softmax) == ["net"]
    assert observed.softmax["net"] == (1.0 if saturated else 0.0)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_softmax_inside_multi_head_attention_is_seen(scale):
    def step(self, x, y):
        tokens = torch.stack([x, 2 * x, -x], 1)
        return self.attention(scale * tokens, scale * tokens, tokens, need_weights=False)[0].square().mean()

    observed = seen(step, attention=nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.1))
    assert list(observed.softmax) == ["attention"]
    assert (observed.softmax["attention"] > 0.5) == (scale > 1)


def test_a_softmax_that_only_the_loss_uses_is_left_out():
    def step(self, x, y):
        return functional.nll_loss(torch.log(self.net(x).softmax(1)), y)

    assert seen(step, net=nn.Linear(4, 3)).softmax == {}


def test_watching_changes_neither_the_loss_nor_the_random_numbers():
    def probe(surface):
        losses = [float(surface.batch_losses[0](surface.here)), surface.run.outputs(surface.here).loss]
        return [*losses, float(surface.batch_losses[0](surface.here))]

    def step(self, x, y):
        tokens = torch.stack([x, 2 * x, -x], 1)
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return functional.cross_entropy(functional.dropout(self.net(attended[:, 0]), 0.5), y)

    attention = nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.3)
    before, watched, after = probed(probe, Step(step, net=nn.Linear(4, 3), attention=attention))
    assert before == watched == after


def test_tensors_of_an_unexpected_kind_do_not_fail_the_step():
    class Odd:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return torch.zeros(())

    def step(self, x, y):
        return self.net(x).sum() + torch.add(x, Odd())

    assert next_to_loss(seen(step, net=nn.Linear(4, 3))) == ["net"]


def test_the_probe_compares_the_present_with_the_initial_weights():
    module = Step(lambda self, x, y: functional.cross_entropy(self.net(x), y), net=nn.Linear(4, 3))

    def probe(surface):
        collapsed = {**surface.here, "net.weight": torch.zeros(3, 4)}
        return outputs(replace(surface, here=collapsed))

    reading = probed(probe, module)
    assert [(spread.layer, spread.now) for spread in reading.spreads] == [("net", 0.0)]
    assert reading.spread_at_start > 0.3
    assert reading.same_from == "net"
    assert reading.loss_of_means == pytest.approx(reading.loss)
    assert reading.best_constant.function == "cross_entropy"
    assert reading.moved > 0.5


def test_the_probe_returns_none_without_a_layer_next_to_the_loss():
    class Own(Step):
        def __init__(self, step):
            super().__init__(step)
            self.bias = nn.Parameter(torch.ones(2))

    assert probed(outputs, Own(lambda self, x, y: self.bias.square().sum())) is None


def test_the_probe_costs_no_more_than_it_announces():
    module = Step(lambda self, x, y: self.net(x).square().mean(), net=nn.Linear(4, 3))
    assert probed(outputs.cost, module) == 1.0
