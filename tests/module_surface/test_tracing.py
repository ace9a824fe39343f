"""What a trace of the training step contains, and what the wiring probe reads from it on sound and on broken steps."""

import copy

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import distributions, nn
from torch.nn.modules import module as registry
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.diagnosis import found
from lightning_landscape.evidence import Evidence
from lightning_landscape.probes import wiring
from tests.module_surface.observers import Prober
from tests.zoo import SPECIMENS
from tests.zoo.training import MemoryLogger, fit, make_trainer

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(8, 6, generator=GENERATOR)
CLASSES = torch.randint(0, 3, (8,), generator=GENERATOR)
NUMBERS = torch.randn(8, 1, generator=GENERATOR)


def mlp(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs))


class Stepped(L.LightningModule):
    """A module that trains its parts with a given function as its step."""

    def __init__(self, step, *, manual=False, **parts):
        super().__init__()
        self.step, self.automatic_optimization = step, not manual
        for name, part in parts.items():
            setattr(self, name, part)

    def training_step(self, batch, batch_idx):
        return self.step(self, *batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


class Once(Prober):
    """Apply the probe to the surface of the first batch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.examine(trainer, pl_module)

    def on_train_epoch_end(self, *args): ...


def probed(probe, module, *data):
    once = Once(probe, batches=1)
    trainer = L.Trainer(
        max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[once],
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(*data), batch_size=8))
    assert not once.refusals
    return once.readings[0]


def traced(step, *data, **parts):
    return probed(lambda surface: surface.run.trace(), Stepped(step, **parts), *data)


def findings(step, *data, **parts):
    """Return the names and weights of the findings, and the reading."""
    reading = probed(wiring, Stepped(step, **parts), *data)
    return {finding.name: finding.weight for finding in found(Evidence(reading))}, reading


def classify(module, inputs, labels):
    return F.cross_entropy(module.head(module.net(inputs)), labels)


def test_operations_are_recorded_with_their_module_and_the_source_of_their_values():
    trace = traced(classify, X, CLASSES, net=nn.Sequential(nn.Linear(6, 4), nn.Sigmoid()), head=nn.Linear(4, 3))
    assert [(operation.name, operation.module) for operation in trace.operations[:4]] == [
        ("linear", "net.0"), ("sigmoid", "net.1"), ("linear", "head"), ("cross_entropy", ""),
    ]  # fmt: skip
    first, _, _, loss = trace.operations[:4]
    assert [trace.values[argument.value].name for argument in first.arguments] == [
        "batch[0]", "net.0.weight", "net.0.bias",
    ]  # fmt: skip
    assert trace.values[loss.argument(1, "target")].name == "batch[1]"
    assert trace.loss_value == pytest.approx(1.1, abs=0.5)
    assert all(parameter.reached and parameter.held for parameter in trace.parameters)
    assert not trace.unseen


def test_nothing_is_left_behind():
    before = dict(registry._global_forward_hooks), dict(registry._global_forward_pre_hooks), nn.Module.__call__
    alive = []

    def step(module, inputs, labels):
        logits = module.net(inputs)
        alive.append(torch.utils.weak.TensorWeakRef(logits))
        return F.cross_entropy(logits, labels)

    def probe(surface):
        alive.clear()
        trace = surface.run.trace()
        assert [reference() for reference in alive] == [None]
        return trace

    assert probed(probe, Stepped(step, net=mlp(6, 3)), X, CLASSES).operations
    after = dict(registry._global_forward_hooks), dict(registry._global_forward_pre_hooks), nn.Module.__call__
    assert after == before
    assert not _get_current_function_mode_stack()


def test_a_step_that_fails_while_it_is_recorded_is_named_and_nothing_is_concluded():
    def step(module, inputs, labels):
        if _get_current_function_mode_stack():
            raise RuntimeError("this step does not work under a function mode")
        return F.cross_entropy(module.net(inputs), labels)

    names, reading = findings(step, X, CLASSES, net=mlp(6, 3))
    assert not names
    assert "training_step, which raised RuntimeError" in reading.unseen_sentence


# Broken steps


def squashed(module, inputs, labels):
    probabilities = torch.softmax(module.net(inputs), -1)
    return nn.CrossEntropyLoss()(probabilities.view(8, 3).float().contiguous(), labels)


def sigmoid_before_cross_entropy(module, inputs, labels):
    return F.cross_entropy(module.net(inputs).sigmoid(), labels)


def softmax_before_binary_cross_entropy(module, inputs, labels):
    return F.binary_cross_entropy_with_logits(module.net(inputs).softmax(-1), F.one_hot(labels, 3).float())


def logits_as_log_probabilities(module, inputs, labels):
    return F.nll_loss(module.net(inputs), labels)


def probabilities_as_log_probabilities(module, inputs, labels):
    return nn.NLLLoss()(module.net(inputs).softmax(1), labels)


def by_difference(module, inputs, numbers):
    return ((module.net(inputs) - numbers.squeeze(1)) ** 2).mean()


def softmax_by_hand(module, inputs, labels):
    weights = module.net(inputs).exp()
    return F.cross_entropy(weights / weights.sum(1, keepdim=True), labels)


def log_softmax_over_samples(module, inputs, labels):
    return F.nll_loss(F.log_softmax(module.net(inputs), dim=0), labels)


def made_in_step(module, inputs, labels):
    return F.cross_entropy(module.net(nn.Linear(6, 6)(inputs)), labels)


def without_gradient(module, inputs, labels):
    with torch.no_grad():
        hidden = module.encoder(inputs)
    return F.cross_entropy(module.net(hidden), labels)


def through_argmax(module, inputs, labels):
    return F.cross_entropy(module.net(module.codes(module.encoder(inputs).argmax(1))), labels)


def through_a_list(module, inputs, labels):
    return F.cross_entropy(module.net(torch.tensor(module.encoder(inputs).tolist())), labels)


def through_item(module, inputs, labels):
    return torch.tensor(F.cross_entropy(module.net(inputs), labels).item(), requires_grad=True)


@pytest.mark.parametrize(
    ("step", "parts", "expected"),
    [
        (squashed, {}, {"squashed-twice": "certain"}),
        (softmax_by_hand, {}, {"squashed-twice": "certain"}),
        (log_softmax_over_samples, {}, {"not-log-probabilities": "certain"}),
        (sigmoid_before_cross_entropy, {}, {"squashed-twice": "certain"}),
        (softmax_before_binary_cross_entropy, {}, {"squashed-twice": "certain"}),
        (logits_as_log_probabilities, {}, {"not-log-probabilities": "certain"}),
        (probabilities_as_log_probabilities, {}, {"not-log-probabilities": "certain"}),
        (made_in_step, {}, {"unowned-parameters": "certain"}),
        (without_gradient, {"encoder": mlp(6, 6)}, {"graph-cut": "note"}),
        (through_argmax, {"encoder": mlp(6, 6), "codes": nn.Embedding(6, 6)}, {"graph-cut": "note"}),
        (through_a_list, {"encoder": mlp(6, 6)}, {"graph-cut": "note"}),
        (through_item, {}, {"graph-cut": "certain"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_step_has_the_finding(step, parts, expected):
    names, reading = findings(step, X, CLASSES, net=mlp(6, 3), **parts)
    assert names == expected
    assert all(cut.feeds_layers for cut in reading.cuts if "encoder" in parts)


def test_a_difference_that_is_broadcast_is_found():
    names, reading = findings(by_difference, X, NUMBERS, net=mlp(6, 1))
    assert names == {"broadcast": "certain"}
    assert reading.broadcasts[0].result == (8, 8)


@pytest.mark.parametrize(
    "log_probabilities",
    [
        lambda outputs: outputs.log_softmax(1),
        lambda outputs: outputs.softmax(1).add(1e-8).log().half(),
        lambda outputs: outputs - outputs.logsumexp(1, keepdim=True),
        lambda outputs: outputs.log_softmax(1)[:, :, None].expand(8, 3, 4),
    ],
)
def test_log_probabilities_are_told_by_their_sum_however_they_were_computed(log_probabilities):
    def step(module, inputs, labels):
        values = log_probabilities(module.net(inputs))
        return F.nll_loss(values.float(), labels if values.ndim == 2 else labels[:, None].expand(8, 4))

    assert findings(step, X, CLASSES, net=mlp(6, 3))[0] == {}


SEQUENCES = torch.randn(8, 5, 6, generator=GENERATOR)


def last_step(module, inputs, labels):
    outputs = module.layer(inputs)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    return F.cross_entropy(module.net(outputs[:, -1]), labels)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN, nn.TransformerEncoderLayer])
def test_a_layer_for_sequences_that_does_not_expect_the_batch_first_is_found(kind):
    sizes = (6, 2, 8) if kind is nn.TransformerEncoderLayer else (6, 6)
    broken = findings(last_step, SEQUENCES, CLASSES, net=nn.Linear(6, 3), layer=kind(*sizes))[0]
    mended = findings(last_step, SEQUENCES, CLASSES, net=nn.Linear(6, 3), layer=kind(*sizes, batch_first=True))[0]
    assert (broken, mended) == ({"samples-as-sequence": "certain"}, {})


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (lambda tokens: tokens != 0, {"inverted-mask": "certain"}),
        (lambda tokens: torch.where(tokens != 0, -torch.inf, 0.0), {"inverted-mask": "certain"}),
        (lambda tokens: tokens == 0, {}),
        (lambda tokens: None, {}),
        (lambda tokens: tokens > 2, {}),  # several tokens are left
    ],
)
def test_a_mask_that_hides_the_tokens_and_leaves_the_padding_is_found(mask, expected):
    def step(module, tokens, labels):
        hidden = module.attention(module.embedding(tokens), src_key_padding_mask=mask(tokens))
        return F.cross_entropy(module.net(hidden[:, 0]), labels)

    tokens = torch.randint(1, 6, (8, 7), generator=torch.Generator().manual_seed(0))
    tokens[:, 4:] = 0
    attention = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    parts = {"embedding": nn.Embedding(6, 6, padding_idx=0), "attention": attention, "net": nn.Linear(6, 3)}
    assert findings(step, tokens, CLASSES, **parts)[0] == expected


def test_a_batch_that_begins_with_time_is_no_mistake():
    def step(module, inputs, labels):
        return F.cross_entropy(module.net(module.layer(inputs)[0]).flatten(0, 1), labels.flatten())

    labels = CLASSES[:, None].expand(8, 5)
    assert findings(step, SEQUENCES, labels, net=nn.Linear(6, 3), layer=nn.GRU(6, 6))[0] == {}


@pytest.mark.parametrize("container", [list, tuple, lambda layers: {"first": layers[0]}])
def test_tensors_in_a_container_are_found_by_their_place(container):
    def step(module, inputs, labels):
        layers = module.hidden.values() if isinstance(module.hidden, dict) else module.hidden
        for layer in layers:
            inputs = layer(inputs)
        return F.cross_entropy(module.net(inputs), labels)

    names, reading = findings(step, X, CLASSES, net=mlp(6, 3), hidden=container([nn.Linear(6, 6)]))
    assert names == {"unowned-parameters": "certain"}
    key = "'first'" if isinstance(container([0]), dict) else 0
    assert {leaf.place for leaf in reading.unowned} == {f"self.hidden[{key}].weight", f"self.hidden[{key}].bias"}


# Sound steps that resemble broken ones


def vq_vae(module, inputs):
    codes = module.encoder(inputs)
    nearest = module.codebook(torch.cdist(codes, module.codebook.weight).argmin(1))
    loss = F.mse_loss(nearest, codes.detach()) + 0.25 * F.mse_loss(codes, nearest.detach())
    return loss + F.mse_loss(module.net(codes + (nearest - codes).detach()), inputs)


def byol(module, inputs):
    with torch.no_grad():
        target = module.teacher(inputs)
    return 2 - 2 * F.cosine_similarity(module.net(inputs), target).mean()


def masked_targets(module, inputs, labels):
    targets = torch.where(labels == 0, -1.0, labels / 2)[:, None].expand(8, 3)
    mask = (targets >= 0).float()
    errors = F.mse_loss(module.net(inputs).sigmoid(), targets, reduction="none")
    return (errors * mask).sum() / mask.sum()


def actor_critic(module, inputs, returns):
    policy = distributions.Normal(torch.tanh(module.net(inputs)), 1.0)
    action, value = policy.sample(), module.critic(inputs)
    advantage = (returns - value).detach()
    return -(policy.log_prob(action) * advantage).mean() + F.mse_loss(value, returns)


def gradient_penalty(module, inputs):
    inputs = inputs.requires_grad_()
    (slope,) = torch.autograd.grad(module.net(inputs).sum(), inputs, create_graph=True)
    return ((slope.norm(dim=1) - 1) ** 2).mean()


def perturbed(module, inputs, labels):
    noise = nn.Parameter(torch.zeros_like(inputs))
    return F.cross_entropy(module.net(inputs + noise), labels)


def distilled(module, inputs, labels):
    with torch.no_grad():
        target = F.softmax(module.hidden[0](inputs), 1)
    return F.cross_entropy(module.net(inputs), target)


def supervised_contrastive(module, inputs, labels):
    codes = F.normalize(module.net(inputs), dim=1)
    similar = codes @ codes.T / 0.1
    similar = similar - similar.amax(1, keepdim=True).detach()
    same = (labels[:, None] == labels[None]).float()
    return -(similar.log_softmax(1) * same).sum(1).div(same.sum(1)).mean()


def all_pairs(module, inputs, numbers):
    return ((module.net(inputs).squeeze(1)[:, None] - numbers.squeeze(1)) ** 2).mean()


def radial_basis(module, inputs, labels):
    return F.cross_entropy(module.head(torch.exp(-((module.scalar(inputs) - module.centres) ** 2))), labels)


def attention_to_one_token(module, inputs, labels):
    tokens = inputs[:, None]
    weights = (module.query(tokens) @ module.key(tokens).transpose(1, 2)).softmax(-1)
    return F.cross_entropy((weights @ module.net(tokens))[:, 0], labels)


def meta_learning(module, inputs, labels):
    weights = dict(module.net.named_parameters())
    loss = F.cross_entropy(torch.func.functional_call(module.net, weights, inputs), labels)
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    moved = {name: w - 0.1 * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}
    return F.cross_entropy(torch.func.functional_call(module.net, moved, inputs), labels)


def own_optimizer(module, inputs, labels):
    module.manual_backward(F.cross_entropy(module.net(module.hidden[0](inputs)), labels))
    module.second.step()
    module.optimizers().step()


def sampled_tokens(module, inputs, labels):
    logits = module.encoder(inputs)
    again = module.net(module.codes(logits.argmax(1)))  # the next token is chosen by the model itself
    return F.cross_entropy(again, labels) + F.cross_entropy(logits, labels)


HIDDEN = [nn.Linear(6, 6)]
SOUND = {
    vq_vae: ((X,), {"encoder": mlp(6, 4), "codebook": nn.Embedding(5, 4), "net": mlp(4, 6)}),
    byol: ((X,), {"net": mlp(6, 4), "teacher": mlp(6, 4).requires_grad_(requires_grad=False)}),
    actor_critic: ((X, NUMBERS), {"net": mlp(6, 1), "critic": mlp(6, 1)}),
    gradient_penalty: ((X,), {"net": mlp(6, 1)}),
    perturbed: ((X, CLASSES), {"net": mlp(6, 3)}),
    distilled: ((X, CLASSES), {"net": mlp(6, 3), "hidden": [mlp(6, 3)]}),
    supervised_contrastive: ((X, CLASSES), {"net": mlp(6, 4)}),
    all_pairs: ((X, NUMBERS), {"net": mlp(6, 1)}),
    radial_basis: (
        (X, CLASSES),
        {"scalar": nn.Linear(6, 1), "head": nn.Linear(8, 3), "centres": nn.Parameter(torch.linspace(-2, 2, 8))},
    ),
    attention_to_one_token: (
        (X, CLASSES),
        {"query": nn.Linear(6, 4), "key": nn.Linear(6, 4), "net": nn.Linear(6, 3)},
    ),
    meta_learning: ((X, CLASSES), {"net": mlp(6, 3)}),
    masked_targets: ((X, CLASSES), {"net": mlp(6, 3)}),
    own_optimizer: (
        (X, CLASSES),
        {"net": mlp(6, 3), "hidden": HIDDEN, "second": torch.optim.SGD(HIDDEN[0].parameters(), 0.1), "manual": True},
    ),
    sampled_tokens: ((X, CLASSES), {"encoder": mlp(6, 6), "codes": nn.Embedding(6, 6), "net": mlp(6, 3)}),
}


@pytest.mark.parametrize("step", SOUND, ids=lambda step: step.__name__)
def test_a_sound_step_has_no_finding(step):
    data, parts = SOUND[step]
    names, reading = findings(step, *data, **copy.deepcopy(parts) if step is not own_optimizer else parts)
    assert names == {}
    assert reading.operations > 0
    assert reading.unseen == ()


def detached_codes(module, inputs):
    codes = module.encoder(inputs)
    return F.mse_loss(module.net(codes.detach()), inputs) + (codes**2).mean()


def codes_for_two(module, inputs):
    codes = module.encoder(inputs)
    return F.mse_loss(module.net(codes), inputs) + module.probe(codes.detach()).pow(2).mean()


def test_a_detach_before_layers_is_found_although_another_part_of_the_loss_reaches_the_parameters():
    for step, parts, after in ((detached_codes, {}, "net.0"), (codes_for_two, {"probe": mlp(6, 1)}, "probe.0")):
        names, reading = findings(step, X, encoder=mlp(6, 6), net=mlp(6, 6), **parts)
        (cut,) = reading.partial_cuts
        assert (cut.operation, cut.after, names) == ("detach", after, {})
        assert {name.partition(".")[0] for name in cut.parameters} == {"encoder"}


@pytest.mark.parametrize("step", [vq_vae, byol, actor_critic], ids=lambda step: step.__name__)
def test_stopped_gradients_that_feed_no_layer_are_no_partial_cuts(step):
    data, parts = SOUND[step]
    assert findings(step, *data, **copy.deepcopy(parts))[1].partial_cuts == ()


def test_a_target_network_that_the_optimizer_holds_is_a_note_since_it_feeds_no_layer():
    def step(module, inputs, returns):
        with torch.no_grad():
            target = returns + 0.9 * module.target(inputs)
        return F.mse_loss(module.net(inputs), target)

    names, reading = findings(step, X, NUMBERS, net=mlp(6, 1), target=mlp(6, 1))
    assert names == {"graph-cut": "note"}
    assert not any(cut.feeds_layers for cut in reading.cuts)


def test_a_network_in_a_list_in_evaluation_mode_is_a_note():
    def step(module, inputs):
        return F.mse_loss(module.hidden[0](module.net(inputs)), module.hidden[0](inputs).detach())

    assert findings(step, X, net=mlp(6, 6), hidden=[mlp(6, 4).eval()])[0] == {"unowned-parameters": "note"}


# What cannot be seen


class Rounding(torch.autograd.Function):
    """Rounds, and passes the gradient on."""

    @staticmethod
    def forward(ctx, values):
        return values.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def rounded(module, inputs, labels):
    return F.cross_entropy(module.head(Rounding.apply(module.net(inputs))), labels)


def reentrant(module, inputs, labels):
    return F.cross_entropy(module.head(checkpoint(module.net, inputs.requires_grad_(), use_reentrant=True)), labels)


@pytest.mark.parametrize(("step", "named"), [(rounded, "`Rounding`"), (reentrant, "`use_reentrant=True`")])
def test_custom_functions_are_named_and_nothing_is_concluded_from_them(step, named):
    names, reading = findings(step, X, CLASSES, net=mlp(6, 4), head=nn.Linear(4, 3))
    assert names == {}
    assert named in reading.unseen_sentence


def test_checkpointing_without_reentry_is_seen_through():
    def step(module, inputs, labels):
        return F.cross_entropy(module.head(checkpoint(module.net, inputs, use_reentrant=False)), labels)

    names, reading = findings(step, X, CLASSES, net=mlp(6, 4), head=nn.Linear(4, 3))
    assert (names, reading.unseen, reading.reached) == ({}, (), 1.0)


@pytest.mark.parametrize("name", [name for name, specimen in SPECIMENS.items() if not specimen.refusal])
def test_the_modules_of_the_zoo_have_no_finding(name):
    specimen = SPECIMENS[name]
    prober = Prober(wiring, batches=1)
    fit(specimen, make_trainer(specimen, prober, logger=MemoryLogger()), specimen.module())
    assert prober.readings
    assert {found(Evidence(reading)) for reading in prober.readings} == {()}
