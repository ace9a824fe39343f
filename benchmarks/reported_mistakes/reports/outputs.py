"""Reports of outputs that cannot reach their targets, and of embeddings that become one vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import digits, loader
from benchmarks.reported_mistakes.modules import Recipe, Supervised
from benchmarks.reported_mistakes.registry import failing
from benchmarks.reported_mistakes.reports.networks import Convolutions, TwoViews, embedding


@failing(
    1200,
    mistake="The network ends in a softmax, and cross_entropy applies a softmax again.",
    fix="Give the scores before the softmax to cross_entropy.",
    causes=("flat_region", "learning_rate_too_large", "saddle_point"),
    words=("softmax", "logit"),
    source="https://discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814",
)
def softmax_before_cross_entropy(seed, cured):
    """Build a convolutional classifier of digits, by Adam at 0.01."""
    net = Convolutions(last=None if cured else nn.Softmax(1))
    return Supervised(net, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=1e-2)), loader(*digits()), {}


@failing(
    900,
    mistake="The decoder ends in a sigmoid, but the pixels are standardised and leave its range.",
    fix="End in a linear layer.",
    causes=("flat_region", "poor_minimum"),
    words=("saturat", "bounds", "activation", "sigmoid"),
    source="https://github.com/aimagelab/novelty-detection/issues/5 "
    "https://github.com/L1aoXingyu/pytorch-beginner/issues/38",
)
def sigmoid_for_standardised_pixels(seed, cured):
    """Build an autoencoder of digits with 16 codes."""
    x = digits()[0].flatten(1)
    x = (x - x.mean()) / x.std()
    net = nn.Sequential(
        *(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64)),
        nn.Identity() if cured else nn.Sigmoid(),
    )
    return Supervised(net, F.mse_loss), loader(x, x), {}


@failing(
    800,
    mistake="Adam at 5e-2 kills the ReLU behind the scores, so all of them are 0.",
    fix="Use a smaller learning rate, and leave the last ReLU out.",
    causes=("flat_region", "learning_rate_too_large"),
    words=("learning rate", "dead", "re-initialis", "zero on all"),
    source="https://discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814/16",
)
def dead_scores(seed, cured):
    """Build a convolutional classifier of digits whose scores pass through a ReLU."""
    net, rate = Convolutions(last=None if cured else nn.ReLU()), 1e-3 if cured else 5e-2
    return Supervised(net, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=rate)), loader(*digits()), {}


class _HardTriplets(Recipe):
    """The hinge of the farthest image of the same class against the nearest of another, in each batch."""

    def __init__(self, rate):
        super().__init__()
        self.net, self.rate = embedding(16), rate

    def loss_of(self, batch):
        x, y = batch
        z = self.net(x)
        distance = ((z[:, None] - z[None]).square().sum(2) + 1e-12).sqrt()
        same = y[:, None] == y[None]
        farthest = distance.where(same, 0.0).amax(1)
        nearest = distance.where(~same, 1e9).amin(1)
        return F.relu(farthest - nearest + 0.5).mean()

    def training_step(self, batch, batch_idx):
        return {"loss": super().training_step(batch, batch_idx)}


@failing(
    800,
    mistake="At a learning rate of 0.02 all embeddings become one point, and the loss is the margin.",
    fix="Use a learning rate of 3e-4.",
    causes=("learning_rate_too_large", "saddle_point", "flat_region"),
    words=("learning rate", "perturb"),
    source="https://github.com/omoindrot/tensorflow-triplet-loss/issues/6 "
    "https://github.com/VisualComputingInstitute/triplet-reid/issues/30",
)
def loss_at_the_margin(seed, cured):
    """Build a network that embeds digits by the hardest triplets of each batch."""
    return _HardTriplets(3e-4 if cured else 2e-2), loader(*digits()), {}


class _Siamese(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.cured = cured
        self.project = embedding(32, nn.Sequential(*self.between(64, 64)))
        self.predict = nn.Sequential(*self.between(32, 16), nn.Linear(16, 32))

    def between(self, inputs, outputs):
        """Return a linear layer and a ReLU, with BatchNorm in between in the cured program."""
        norm = [nn.BatchNorm1d(outputs)] if self.cured else []
        return [nn.Linear(inputs, outputs), *norm, nn.ReLU()]

    def loss_of(self, batch):
        one, other = (self.project(view) for view in batch[0].unbind(1))
        pairs = (F.cosine_similarity(self.predict(a), b.detach()) for a, b in ((one, other), (other, one)))
        return -0.5 * sum(pair.mean() for pair in pairs)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05 if self.cured else 0.5, momentum=0.9)


# No cause says that a loss is low for the wrong reason, so the three that come near are accepted.
@failing(
    500,
    mistake="Without BatchNorm and at a learning rate of 0.5, all outputs become one vector: the loss is -1 at once.",
    fix="Put BatchNorm into the heads, and use a smaller learning rate.",
    causes=("nothing_to_learn", "learning_rate_too_large", "poor_minimum"),
    words=("constant", "collaps", "learning rate"),
    source="https://github.com/PatrickHua/SimSiam/issues/50 https://github.com/facebookresearch/simsiam/issues/29",
)
def siamese_outputs_are_one_vector(seed, cured):
    """Build a network that predicts one view of an image from another, without negative pairs."""
    return _Siamese(cured), loader(TwoViews()), {}
