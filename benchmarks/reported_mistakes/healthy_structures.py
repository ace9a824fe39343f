"""Healthy programs whose structure looks suspicious: frozen, detached and unused parts that are meant to be so."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import digits, generator, loader, surface, waves
from benchmarks.reported_mistakes.modules import Recipe, Residual, Rows
from benchmarks.reported_mistakes.registry import healthy


class _LowRank(nn.Module):
    """A frozen linear layer plus a trained product of two thin matrices, one of which starts at 0."""

    def __init__(self, layer, rank=4):
        super().__init__()
        self.layer = layer
        self.a = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        return self.layer(x) + x @ self.a.T @ self.b.T


class _Adapted(Recipe):
    rate = 5e-3

    def __init__(self):
        super().__init__()
        layers = [nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)]
        for layer in layers:
            layer.requires_grad_(requires_grad=False)
        first, second, last = (_LowRank(layer) for layer in layers)
        self.net = nn.Sequential(nn.Flatten(), first, nn.GELU(), second, nn.GELU(), last)

    def loss_of(self, batch):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.rate)


@healthy(
    600,
    suspicious="Most parameters are frozen and are not in the optimizer, and half of the others start at 0.",
    fine="Low-rank adapters are trained on a frozen network.",
    source="https://github.com/huggingface/sentence-transformers/issues/3274 https://github.com/huggingface/trl/issues/3926",
)
def low_rank_adapters(seed, cured):
    """Build a frozen network with low-rank adapters."""
    return _Adapted(), loader(*digits()), {}


class _Teacher(Recipe):
    def __init__(self):
        super().__init__()
        self.student = Rows(10)
        self.teacher = copy.deepcopy(self.student)
        self.teacher.requires_grad_(requires_grad=False)

    def loss_of(self, batch):
        x, y = batch
        known = y >= 0
        output = self.student(x + 0.1 * torch.randn_like(x))
        with torch.no_grad():
            wanted = self.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        consistency = F.mse_loss(output.softmax(1), wanted)
        return F.cross_entropy(output[known], y[known]) + 2 * consistency

    def on_train_batch_end(self, outputs, batch, batch_idx):
        with torch.no_grad():
            for old, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                old.lerp_(new, 0.05)

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), lr=1e-3)


@healthy(
    700,
    suspicious="The teacher gets no gradient, is not in the optimizer, and moves outside it.",
    fine="The teacher is a moving average of the student.",
    source="https://github.com/lucidrains/DALLE2-pytorch/issues/131 https://github.com/lucidrains/byol-pytorch/issues/82",
)
def mean_teacher(seed, cured):
    """Build a mean teacher for digits of which a third is labelled."""
    x, y = digits()
    hidden = torch.rand(len(y), generator=generator(seed)) > 0.34
    return _Teacher(), loader(x, torch.where(hidden, -1, y)), {}


class _Distilled(Recipe):
    def __init__(self, teacher):
        super().__init__()
        self.teacher, self.student = (
            teacher,
            nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10)),
        )
        self.teacher.requires_grad_(requires_grad=False)

    def loss_of(self, batch):
        x, _ = batch
        with torch.no_grad():
            wanted = (self.teacher(x) / 3).softmax(1)
        # The entropy of the teacher's answers is the floor of this loss.
        return F.cross_entropy(self.student(x) / 3, wanted)


def _trained(net, x, y, steps=120):
    """Return the network after a few steps of Adam on these data."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    return net


@healthy(
    900,
    suspicious="The targets are softmax outputs of a network without gradient, and the loss has a floor far above 0.",
    fine="A student learns the soft answers of a trained teacher.",
    source="https://github.com/IntelLabs/distiller/issues/122 https://github.com/wentianli/knowledge_distillation_caffe/issues/1",
)
def soft_answers_of_a_teacher(seed, cured):
    """Build a small student and a teacher that is trained for a moment."""
    return _Distilled(_trained(Rows(10), *digits())), loader(*digits()), {}


class _Experts(Recipe):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(6, 8)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(8)])
        with torch.no_grad():
            self.gate.bias[5:] = -30.0

    def loss_of(self, batch):
        x, y = batch
        share, chosen = self.gate(x).softmax(1).max(1)
        output = torch.zeros_like(y)
        for k, expert in enumerate(self.experts):
            rows = (chosen == k).nonzero().squeeze(1)
            if len(rows):
                output = output.index_add(0, rows, expert(x[rows]).squeeze(1) * share[rows])
        return F.mse_loss(output, y)


@healthy(
    800,
    suspicious="Three of eight experts are never chosen, so they get no gradient.",
    fine="The gate uses the other five, and the loss falls.",
    source="https://github.com/pytorch/pytorch/issues/45325",
)
def experts_that_rest(seed, cured):
    """Build a mixture of experts with one expert for each sample."""
    return _Experts(), loader(*surface(seed)), {}


class _TwoHeads(Recipe):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 12, 7, stride=2), nn.GELU(), nn.Conv1d(12, 12, 5, stride=2), nn.GELU())
        self.kind, self.phase = nn.Linear(12 * 9, 6), nn.Linear(12 * 9, 1)
        self.weights = {"kind": 1.0, "phase": 0.0}

    def loss_of(self, batch):
        x, y = batch
        h = self.body(x.unsqueeze(1)).flatten(1)
        kind = F.cross_entropy(self.kind(h), y)
        phase = F.mse_loss(self.phase(h).squeeze(1), x[:, 0])
        self.log("phase_loss", phase)
        return self.weights["kind"] * kind + self.weights["phase"] * phase


@healthy(
    600,
    suspicious="One head has the weight 0, so its gradient is exactly 0 and its loss does not fall.",
    fine="The second task is switched off on purpose.",
    source="https://github.com/jasonkyuyim/multiflow/issues/3 https://github.com/open-mmlab/mmsegmentation/issues/365",
)
def head_switched_off(seed, cured):
    """Build a convolutional network with two heads."""
    return _TwoHeads(), loader(*waves(seed)), {}


class _Binary(Recipe):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))
        self.decoder = nn.Sequential(nn.Linear(24, 64), Residual(64, 64), nn.Linear(64, 64))

    def loss_of(self, batch):
        x, _ = batch
        h = self.encoder(x).tanh()
        bits = h + (h.sign() - h).detach()
        return F.mse_loss(self.decoder(bits), x.flatten(1))


@healthy(
    900,
    suspicious="The code is rounded by sign, and the rounding is detached.",
    fine="A straight-through estimator passes the gradient on to the encoder.",
    source="https://github.com/CompVis/taming-transformers/issues/35 https://github.com/nadavbh12/VQ-VAE/issues/15",
)
def straight_through_bits(seed, cured):
    """Build an autoencoder with a code of 24 bits."""
    return _Binary(), loader(*digits()), {}
