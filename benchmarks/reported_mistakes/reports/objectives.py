"""Reports of losses that are not meant to fall to 0, or to fall at all: generators, rewards and pairs."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.reported_mistakes.data import digits, loader
from benchmarks.reported_mistakes.modules import Recipe
from benchmarks.reported_mistakes.registry import failing, healthy
from benchmarks.reported_mistakes.reports.networks import TwoViews, embedding


def _leaky(*widths):
    """Return linear layers with a leaky ReLU between each two."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class _Adversaries(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.automatic_optimization, self.cured = False, cured
        self.draw, self.judge = _leaky(16, 64, 64, 64).append(nn.Tanh()), _leaky(64, 64, 64, 1)

    def error(self, scores, *, wanted):
        """Return the cross-entropy of the scores if all images are real (`wanted` 1) or drawn (`wanted` 0)."""
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, wanted))

    def training_step(self, batch, batch_idx):
        x = 2 * batch[0].flatten(1) - 1
        artist, critic = self.optimizers()
        self.toggle_optimizer(artist)
        artist.zero_grad()
        scores = self.judge(self.draw(torch.randn(len(x), 16)))
        # The loss that saturates is the one with which the drawings are told from real images, with its sign changed.
        drawing = self.error(scores, wanted=1.0) if self.cured else -self.error(scores, wanted=0.0)
        self.manual_backward(drawing)
        artist.step()
        self.untoggle_optimizer(artist)
        self.toggle_optimizer(critic)
        critic.zero_grad()
        drawn = self.draw(torch.randn(len(x), 16)).detach()
        judging = self.error(self.judge(x), wanted=1.0) + self.error(self.judge(drawn), wanted=0.0)
        self.manual_backward(judging)
        critic.step()
        self.untoggle_optimizer(critic)
        self.log_dict({"draw_loss": drawing, "judge_loss": judging})

    def configure_optimizers(self):
        rate = 2e-4 if self.cured else 5e-3
        return [
            torch.optim.Adam(self.draw.parameters(), lr=2e-4, betas=(0.5, 0.999)),
            torch.optim.Adam(self.judge.parameters(), lr=rate, betas=(0.5, 0.999)),
        ]


@failing(
    1500,
    mistake="The discriminator learns 25 times faster and wins; under the saturating loss the generator stands still.",
    fix="Slow the discriminator down, and use the loss that does not saturate.",
    causes=("flat_region",),
    words=("discriminator", "saturat", "vanish"),
    source="https://github.com/soumith/ganhacks/issues/36 https://github.com/BadourAlBahar/pose-with-style/issues/23",
)
def discriminator_wins(seed, cured):
    """Build a generator of digits and its discriminator."""
    return _Adversaries(cured), loader(digits()[0]), {}


CELLS = 11


class _Steps(IterableDataset):
    """Endless batches from the memory of an agent that walks along a row of cells, as the module's values say."""

    def __init__(self, module, batch=64):
        self.module, self.batch = module, batch

    def __iter__(self):
        memory, cell, turn = [], int(torch.randint(CELLS, ())), 0
        while True:
            for _ in range(4):
                curious = float(torch.rand(())) < max(0.1, 1 - turn / 800)
                right = int(torch.randint(2, ())) if curious else self.module.best(cell)
                after = min(CELLS - 1, max(0, cell + 2 * right - 1))
                arrived = after == CELLS - 1
                memory = [*memory[-4999:], (cell, right, 10.0 if arrived else -0.1, after, float(arrived))]
                cell = int(torch.randint(5, ())) if arrived else after
            turn += 1
            if len(memory) >= self.batch:
                rows = torch.randint(len(memory), (self.batch,)).tolist()
                yield tuple(torch.tensor(column) for column in zip(*(memory[row] for row in rows), strict=True))


class _WalkValues(Recipe):
    def __init__(self):
        super().__init__()
        self.values, self.target = (nn.Sequential(nn.Linear(CELLS, 64), nn.ReLU(), nn.Linear(64, 2)) for _ in range(2))
        self.target.load_state_dict(self.values.state_dict())

    def best(self, cell):
        """Return 1 if a step to the right has the larger value in this cell, and 0 otherwise."""
        with torch.no_grad():
            return int(self.values(F.one_hot(torch.tensor(cell), CELLS).float()).argmax())

    def loss_of(self, batch):
        cell, right, reward, after, arrived = batch
        with torch.no_grad():
            later = self.target(F.one_hot(after, CELLS).float()).amax(1)
        own = self.values(F.one_hot(cell, CELLS).float()).gather(1, right[:, None]).squeeze(1)
        return F.mse_loss(own, reward + 0.98 * (1 - arrived) * later)

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if batch_idx % 100 == 0:
            self.target.load_state_dict(self.values.state_dict())
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.values.parameters(), lr=1e-3)

    def quality(self, batches):
        """Return in how many of the first ten cells the better step leads away from the goal."""
        return sum(1 - self.best(cell) for cell in range(CELLS - 1))


@healthy(
    1500,
    suspicious="The loss rises and jumps, and a second network gets no gradient.",
    fine="The targets move with the values; the agent learns to walk to the goal.",
    source="https://github.com/IntelLabs/coach/issues/214 https://github.com/google-deepmind/acme/issues/51 "
    "https://github.com/tensorflow/agents/issues/316",
)
def values_of_a_walk(seed, cured):
    """Build a Q-network with a target network and a memory of steps."""
    module = _WalkValues()
    return module, DataLoader(_Steps(module), batch_size=None), {}


class _Diffusion(Recipe):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(80, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 64))
        self.register_buffer("kept", torch.cumprod(1 - torch.linspace(1e-4, 0.05, 200), 0))

    def loss_of(self, batch):
        x = 2 * batch[0].flatten(1) - 1
        time, noise = torch.randint(200, (len(x), 1)), torch.randn_like(x)
        kept = self.kept[time]
        waves = time / 200 * 2.0 ** torch.arange(8)
        noisy = kept.sqrt() * x + (1 - kept).sqrt() * noise
        return F.mse_loss(self.net(torch.cat([noisy, waves.sin(), waves.cos()], 1)), noise)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


@healthy(
    1500,
    suspicious="The loss falls quickly and looks flat for the rest of the run.",
    fine="The noise cannot be known exactly; the images get better while the loss hardly falls.",
    source="https://github.com/ermongroup/ddim/issues/33 https://github.com/hpcaitech/Open-Sora/issues/286 "
    "https://github.com/CompVis/latent-diffusion/issues/369",
)
def diffusion_looks_flat(seed, cured):
    """Build a diffusion model of digits."""
    return _Diffusion(), loader(digits()[0]), {}


class _Contrastive(Recipe):
    def __init__(self):
        super().__init__()
        # Without BatchNorm all embeddings may become one vector.
        self.net = embedding(32, nn.Sequential(nn.BatchNorm1d(64), nn.ReLU()))

    def loss_of(self, batch):
        views, y = batch
        z = F.normalize(self.net(views.transpose(0, 1).flatten(0, 1)), dim=1)
        y = y.repeat(2)
        own = torch.eye(len(z), dtype=torch.bool)
        partners = ((y[:, None] == y[None]) & ~own).float()
        likelihood = (z @ z.T / 0.1).masked_fill(own, -1e9).log_softmax(1)
        return -((likelihood * partners).sum(1) / partners.sum(1).clamp(min=1)).mean()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
        return [optimizer], [{"scheduler": CosineAnnealingLR(optimizer, 700), "interval": "step"}]


@healthy(
    700,
    suspicious="The loss comes to rest far above 0.",
    fine="Each image has many partners in a batch, so the loss has a floor near the logarithm of their number.",
    source="https://github.com/HobbitLong/SupContrast/issues/45 https://github.com/sthalles/SimCLR/issues/21",
)
def contrast_of_classes(seed, cured):
    """Build a network that embeds two views of each digit by class."""
    return _Contrastive(), loader(TwoViews(), batch=128), {}
