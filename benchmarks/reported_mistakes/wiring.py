"""Mistakes in the wiring: parameters that no gradient reaches, or that the optimizer does not hold."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import digits, loader, waves
from benchmarks.reported_mistakes.modules import Recipe, Residual, Rows, Supervised, tanh_stack
from benchmarks.reported_mistakes.registry import failing


@failing(
    900,
    mistake="The network ends in a sigmoid, and the loss applies a sigmoid again.",
    fix="Give the scores before the sigmoid to BCEWithLogitsLoss.",
    causes=("flat_region", "poor_minimum"),
    words=("sigmoid", "logits", "final activation", "last activation", "activation at the end"),
    source="https://github.com/avBuffer/UNet3plus_pth/issues/23 https://github.com/yudi-mars/daisyRec/pull/15",
)
def sigmoid_applied_twice(seed, cured):
    """Build a tagger of digits: even, above 4, prime, with a loop, divisible by 3."""
    x, y = digits()
    tags = torch.stack([y % 2 == 0, y > 4, torch.isin(y, torch.tensor([2, 3, 5, 7])), y % 3 == 0], 1).float()
    body = Rows(4)
    return Supervised(body if cured else nn.Sequential(body, nn.Sigmoid()), nn.BCEWithLogitsLoss()), loader(x, tags), {}


class _Decoders(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 12))
        decoders = {"image": nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 64))}
        self.decoders = nn.ModuleDict(decoders) if cured else decoders

    def loss_of(self, batch):
        (x,) = batch
        return F.mse_loss(self.decoders["image"](self.encoder(x)), x.flatten(1))


@failing(
    800,
    mistake="The decoder lies in a plain dict, so the optimizer never sees its parameters.",
    fix="Use nn.ModuleDict.",
    causes=("not_updating", "poor_minimum"),
    words=("moduledict", "modulelist", "plain dict", "not registered", "parameters()"),
    source="https://github.com/xiaxin1998/COTREC/issues/15 https://github.com/pytorch/pytorch/issues/4631",
)
def decoder_in_a_plain_dict(seed, cured):
    """Build an autoencoder of digits."""
    return _Decoders(cured), loader(digits()[0]), {}


class _Lazy(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv1d(16, 16, 5, stride=2), nn.ReLU())
        self.head = nn.Linear(16 * 9, 6) if cured else None

    def forward(self, x):
        h = self.body(x.unsqueeze(1)).flatten(1)
        head = self.head if self.head is not None else nn.Linear(h.shape[1], 6)
        return head(h)

    def loss_of(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)


@failing(
    600,
    mistake="The last layer is made anew in each forward pass.",
    fix="Make the layer once, in __init__.",
    causes=("not_updating", "nothing_to_learn"),
    words=("__init__", "in forward", "made anew", "created in", "each forward"),
    source="https://thecodeforge.io/ml-ai/pytorch-neural-network/",
)
def layer_made_in_forward(seed, cured):
    """Build a convolutional classifier of waves whose author did not want to compute the size of the features."""
    return _Lazy(cured), loader(*waves(seed)), {}


class _Game(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.speaker = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20))
        self.listener, self.head = nn.Embedding(20, 24), nn.Sequential(nn.ReLU(), nn.Linear(24, 10))
        self.cured = cured

    def loss_of(self, batch):
        x, y = batch
        scores = self.speaker(x)
        word = scores.softmax(1) @ self.listener.weight if self.cured else self.listener(scores.argmax(1))
        return F.cross_entropy(self.head(word), y)


@failing(
    700,
    mistake="argmax stands between two networks, so the first gets no gradient.",
    fix="Use a softmax over the words, or gumbel_softmax.",
    causes=("not_updating", "poor_minimum"),
    words=("argmax", "gumbel", "not differentiable", "no gradient", "gradient is none", "cut"),
    source="https://www.codegenes.net/blog/pytorch-argmax-gradient",
)
def argmax_between_networks(seed, cured):
    """Build a speaker that names an image by one word, and a listener that guesses the digit."""
    return _Game(cured), loader(*digits()), {}


class _Sorted(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.encoder = tanh_stack([48, 24, 3])
        self.head, self.cured = nn.Sequential(nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 6)), cured

    def loss_of(self, batch):
        x, y = batch
        h = self.encoder(x)
        h = h.clamp(-0.95, 0.95) if self.cured else torch.from_numpy(np.clip(h.detach().numpy(), -0.95, 0.95))
        return F.cross_entropy(self.head(h), y)


@failing(
    800,
    mistake="The features pass through NumPy, which cuts the graph before the encoder.",
    fix="Use the function of torch instead of the one of NumPy.",
    causes=("not_updating", "poor_minimum"),
    words=("numpy", "detach", "no gradient", "gradient is none", "cut"),
    source="https://github.com/kevinzakka/recurrent-visual-attention/issues/4 "
    "https://github.com/rll-research/cic/issues/5",
)
def features_pass_through_numpy(seed, cured):
    """Build a classifier of waves with a narrow encoder."""
    return _Sorted(cured), loader(*waves(seed)), {}


class _TwoTerms(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), Residual(40, 80))
        self.digit, self.ink, self.cured = nn.Linear(40, 10), nn.Linear(40, 1), cured

    def loss_of(self, batch):
        x, y = batch
        h = self.trunk(x)
        terms = [F.cross_entropy(self.digit(h), y), F.l1_loss(self.ink(h).squeeze(1), x.mean((1, 2)))]
        if self.cured:
            return torch.stack(terms).sum()
        return torch.tensor([t.item() for t in terms], requires_grad=True).sum()


@failing(
    500,
    mistake="The loss is made anew from numbers, with requires_grad=True to silence the error.",
    fix="Add the terms as tensors, so that the graph stays whole.",
    causes=("not_updating",),
    words=("item()", "torch.tensor", "graph", "detach", "no gradient", "gradient is none"),
    source="https://github.com/isayev/ReLeaSE/issues/39 https://github.com/Kostis-S-Z/exploring_meta/issues/16",
)
def loss_made_from_numbers(seed, cured):
    """Build a network with two heads whose losses are collected in a list."""
    return _TwoTerms(cured), loader(*digits()), {}


class _Transfer(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.net = Rows(1000)
        self.net.conv.requires_grad_(requires_grad=False)
        if cured:
            self.net.head = nn.Linear(256, 10)
        self.optimizer = torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
        if not cured:
            self.net.head = nn.Linear(256, 10)

    def loss_of(self, batch):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return self.optimizer


@failing(
    500,
    mistake="The optimizer is made before the head is replaced, so it holds the parameters of the old head.",
    fix="Make the optimizer after the head is replaced.",
    causes=("not_updating",),
    words=("optimizer holds", "optimizer does not hold", "not in the optimizer", "the optimizer was", "optimizer has"),
    source="https://github.com/pytorch/pytorch/issues/54765 "
    "https://github.com/Lightning-AI/pytorch-lightning/issues/514",
)
def head_replaced_after_the_optimizer(seed, cured):
    """Build a frozen body with a new head for digits."""
    return _Transfer(cured), loader(*digits()), {}


class _HeadOnly(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.body, self.head, self.cured = tanh_stack([48, 16, 8, 4]), nn.Linear(4, 6), cured

    def loss_of(self, batch):
        x, y = batch
        return F.cross_entropy(self.head(self.body(x)), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters() if self.cured else self.head.parameters(), lr=3e-3)


@failing(
    800,
    mistake="The optimizer is given the head's parameters, but the body was never trained.",
    fix="Give all parameters to the optimizer.",
    causes=("not_updating", "poor_minimum"),
    words=("self.parameters()", "not in the optimizer", "optimizer does not hold", "optimizer holds", "all parameters"),
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/514",
)
def optimizer_gets_only_the_head(seed, cured):
    """Build a classifier of waves from a fine-tuning script, without the trained body."""
    return _HeadOnly(cured), loader(*waves(seed)), {}
