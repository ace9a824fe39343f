"""Healthy programs whose losses are not meant to fall all the time: generators, and learning from rewards."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import digits, generator, loader
from benchmarks.reported_mistakes.modules import Recipe, Residual, Supervised
from benchmarks.reported_mistakes.registry import healthy


class _Variational(Recipe):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.SiLU(), nn.Linear(96, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 96), nn.SiLU(), nn.Linear(96, 64))

    def loss_of(self, batch):
        x = batch[0].flatten(1)
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        self.log("divergence", divergence)
        return error + divergence


@healthy(
    1000,
    suspicious="One part of the loss, the divergence, rises.",
    fine="The code begins to carry information, and the sum falls.",
    source="https://github.com/pytorch/examples/issues/631 https://github.com/facebookresearch/improved_vrnn/issues/4",
)
def variational_autoencoder(seed, cured):
    """Build a variational autoencoder of digits."""
    return _Variational(), loader(digits()[0]), {}


class _Rings(Recipe):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
        self.critic = nn.Sequential(
            nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
        )

    def training_step(self, batch, batch_idx):
        (real,) = batch
        make, judge = self.optimizers()
        fake = self.generator(torch.randn(len(real), 4))
        judge.zero_grad()
        critic_loss = F.relu(1 - self.critic(real)).mean() + F.relu(1 + self.critic(fake.detach())).mean()
        self.manual_backward(critic_loss)
        judge.step()
        make.zero_grad()
        generator_loss = -self.critic(fake).mean()
        self.manual_backward(generator_loss)
        make.step()
        self.log_dict({"critic_loss": critic_loss, "generator_loss": generator_loss})

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.generator.parameters(), 1e-3, (0.0, 0.9)),
            torch.optim.Adam(self.critic.parameters(), 2e-3, (0.0, 0.9)),
        ]

    def quality(self, batches):
        """Return the mean distance of generated points from the ring."""
        with torch.no_grad():
            return float((self.generator(torch.randn(500, 4)).norm(dim=1) - 2).abs().mean())


@healthy(
    1500,
    suspicious="The losses of both networks go up and down and do not fall.",
    fine="The two networks hold each other in balance, and the generated points come to lie on the ring.",
    source="https://github.com/soumith/ganhacks/issues/14 https://github.com/david-gpu/srez/issues/17",
)
def ring_of_points(seed, cured):
    """Build a generator of points on a ring, with a hinge loss and manual optimization."""
    g = generator(seed)
    angle = 6.2832 * torch.rand(6400, generator=g)
    points = 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(6400, 2, generator=g)
    return _Rings(), loader(points), {}


class _Values(Recipe):
    """Learns the values of actions on a grid of 5 x 5 fields from steps that were made at random."""

    def __init__(self):
        super().__init__()
        self.values = nn.Sequential(nn.Linear(25, 64), nn.ReLU(), nn.Linear(64, 4))
        self.target = copy.deepcopy(self.values)
        self.target.requires_grad_(requires_grad=False)

    def loss_of(self, batch):
        field, action, reward, following, end = batch
        own = self.values(F.one_hot(field, 25).float()).gather(1, action[:, None]).squeeze(1)
        later = F.one_hot(following, 25).float()
        with torch.no_grad():
            best = self.values(later).argmax(1, keepdim=True)
            wanted = reward + 0.95 * (1 - end) * self.target(later).gather(1, best).squeeze(1)
        return F.smooth_l1_loss(own, wanted)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.values.parameters(), strict=True):
                slow.lerp_(fast, 0.01)

    def configure_optimizers(self):
        return torch.optim.Adam(self.values.parameters(), lr=1e-3)

    def quality(self, batches):
        """Return how many of the 24 fields have a best action that does not lead towards the goal."""
        best = self.values(torch.eye(25)).argmax(1)
        return sum(_distance(_move(field, int(best[field]))) >= _distance(field) for field in range(24))


def _move(field, action):
    """Return the field after a step down, up, right or left; the border stops the step."""
    row, column = divmod(field, 5)
    down, right = ((1, 0), (-1, 0), (0, 1), (0, -1))[action]
    return 5 * min(4, max(0, row + down)) + min(4, max(0, column + right))


def _distance(field):
    """Return the number of steps from a field to the goal, which is the last field."""
    return 8 - sum(divmod(field, 5))


@healthy(
    1500,
    suspicious="The loss does not fall for the first sixth of the run, and a second network gets no gradient.",
    fine="The targets grow with the values; the second network follows the first one slowly.",
    source="https://github.com/tensorflow/agents/issues/316 https://github.com/google-deepmind/acme/issues/51",
)
def values_on_a_grid(seed, cured):
    """Build a double Q-network with a slow target."""
    g = generator(seed)
    field = torch.randint(24, (6000,), generator=g)
    action = torch.randint(4, (6000,), generator=g)
    following = torch.tensor([_move(int(f), int(a)) for f, a in zip(field, action, strict=True)])
    end = (following == 24).float()
    return _Values(), loader(field, action, 10 * end, following, end), {}


@healthy(
    900,
    suspicious="The network ends in a sigmoid, and the loss is a squared error.",
    fine="The targets are pixels between 0 and 1, which a sigmoid can reach.",
    source="https://github.com/timsainb/Tensorflow-MultiGPU-VAE-GAN/issues/5",
)
def sigmoid_for_pixels(seed, cured):
    """Build an autoencoder of digits with a sigmoid at the end."""
    x = digits()[0].flatten(1)
    net = nn.Sequential(nn.Linear(64, 64), Residual(64, 64), nn.Linear(64, 12), nn.Linear(12, 64), Residual(64, 64))
    return Supervised(nn.Sequential(net, nn.Linear(64, 64), nn.Sigmoid()), nn.MSELoss()), loader(x, x), {}


class _Denoiser(Recipe):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def loss_of(self, batch):
        (x,) = batch
        t, noise = torch.rand(len(x), 1), torch.randn_like(x)
        return F.mse_loss(self.net(torch.cat([(1 - t) * x + t * noise, t], 1)), noise - x)


@healthy(
    1000,
    suspicious="The loss is noisy and flat after a short fall.",
    fine="The noise cannot be known; its remaining part is the floor.",
    source="https://github.com/ermongroup/ddim/issues/33",
)
def flow_of_points(seed, cured):
    """Build a flow-matching network over points on two arcs."""
    g = generator(seed)
    angle = 3.1416 * torch.rand(4000, generator=g)
    side = 2.0 * torch.randint(2, (4000,), generator=g) - 1
    points = torch.stack([angle.cos() + 0.5 * side, side * angle.sin() - 0.25 * side], 1)
    return _Denoiser(), loader(1.5 * points), {}
