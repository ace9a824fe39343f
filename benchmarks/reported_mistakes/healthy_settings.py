"""Healthy programs whose settings or losses look suspicious: schedules that end, floors above 0, clipped gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.reported_mistakes.data import brackets, cancer, digits, generator, loader, standardised, surface, waves
from benchmarks.reported_mistakes.modules import Recipe, Recurrent, Residual, Rows, Supervised
from benchmarks.reported_mistakes.registry import healthy


def _warm_cosine(optimizer, steps, warmup):
    """Return a schedule that rises for `warmup` steps and then falls along a cosine, to 0 at the last step."""

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        share = torch.tensor((step - warmup) / (steps - warmup))
        return float(0.5 * (1 + torch.cos(torch.pi * share)))

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


@healthy(
    1000,
    suspicious="The learning rate begins near 0 and ends at 0, and the loss is flat at the end.",
    fine="The schedule ends with the run.",
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/20436",
)
def cosine_to_its_end(seed, cured):
    """Build a classifier of waves with warm-up and a cosine."""
    net = nn.Sequential(nn.Linear(48, 48), Residual(48, 96), Residual(48, 96), nn.Linear(48, 6))
    module = Supervised(
        net,
        nn.CrossEntropyLoss(),
        lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.05),
        lambda o: _warm_cosine(o, 1000, 100),
    )
    return module, loader(*waves(seed)), {}


@healthy(
    900,
    suspicious="The loss stays near 0.8 while the accuracy is 100%.",
    fine="Label smoothing gives the loss a floor.",
    source="https://github.com/pytorch/pytorch/issues/130342 https://github.com/lxztju/pytorch_classification/issues/9",
)
def smoothed_labels(seed, cured):
    """Build a classifier of digits with label smoothing."""
    return Supervised(Rows(10), nn.CrossEntropyLoss(label_smoothing=0.15)), loader(*digits()), {}


@healthy(
    800,
    suspicious="One class in fifty is rare and has a weight of 50, so the loss jumps from batch to batch.",
    fine="The weight balances the classes.",
    source="https://github.com/ayrna/dlordinal/issues/124 https://github.com/jakeret/tf_unet/issues/31",
)
def rare_class_with_a_weight(seed, cured):
    """Build a detector of rare points."""
    g = generator(seed)
    x = torch.randn(8000, 6, generator=g)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 2.6).float()
    net = nn.Sequential(nn.Linear(6, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 1), nn.Flatten(0))
    criterion = nn.BCEWithLogitsLoss(pos_weight=(1 - y).sum() / y.sum())
    return Supervised(net, criterion), loader(x, y), {}


@healthy(
    700,
    suspicious="The gradient is clipped at 1.0.",
    fine="Clipping at 1.0 is usual for recurrent networks, and the loss falls.",
    source="https://github.com/facebookresearch/detr/issues/91 https://github.com/kazewong/flowMC/issues/130",
)
def recurrent_with_clipping(seed, cured):
    """Build a recurrent network that adds the tokens of a sequence."""
    x, _ = brackets(seed)
    y = x.float().mean(1) - 4.5
    net = nn.Sequential(Recurrent(1, tokens=10), nn.Flatten(0))
    module = Supervised(net, nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))
    return module, loader(x, y), {"gradient_clip_val": 1.0}


class _Gaussian(Recipe):
    rate = 2e-3

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 2))

    def loss_of(self, batch):
        x, y = batch
        mean, log_variance = self.net(x).unbind(1)
        return (0.5 * log_variance + 0.5 * (y - mean).square() / log_variance.exp()).mean()


@healthy(
    1000,
    suspicious="The loss is negative and goes on falling.",
    fine="A negative log-likelihood of real numbers may be negative.",
    source="https://github.com/roggirg/AutoBots/issues/7 https://github.com/jwchoi384/Gaussian_YOLOv3/issues/19",
)
def negative_likelihood(seed, cured):
    """Build a regression with a predicted variance."""
    return _Gaussian(), loader(*surface(seed)), {}


class _Penalised(Recipe):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 48), nn.Softplus(), nn.Linear(48, 48), nn.Softplus(), nn.Linear(48, 1))

    def loss_of(self, batch):
        x, y = batch
        x = x.clone().requires_grad_()
        score = self.net(x).squeeze(1)
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        return F.binary_cross_entropy_with_logits(score, y.float()) + 0.05 * slope.square().sum(1).mean()


@healthy(
    800,
    suspicious="The inputs require gradients, and the loss contains a gradient.",
    fine="The penalty on the slope keeps the network smooth.",
    source="https://github.com/igul222/improved_wgan_training/issues/90",
)
def penalty_on_the_slope(seed, cured):
    """Build a classifier of tumours with a gradient penalty."""
    x, y = cancer()
    return _Penalised(), loader(standardised(x), y, batch=32), {}


class _Oscillator(Recipe):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def displacement(self, t):
        """Return a curve that starts at 1 with slope 0, whatever the network says."""
        return 1 + t.square() * self.net(t)

    def loss_of(self, batch):
        (t,) = batch
        t = t.clone().requires_grad_()
        u = self.displacement(t)
        (v,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (a,) = torch.autograd.grad(v.sum(), t, create_graph=True)
        return (a + 0.3 * v + 4 * u).square().mean()

    def quality(self, batches):
        """Return the mean squared difference from the exact solution."""
        rate, turn = 0.15, (4 - 0.15**2) ** 0.5
        t = torch.linspace(0, 3, 50)[:, None]
        exact = torch.exp(-rate * t) * (torch.cos(turn * t) + rate / turn * torch.sin(turn * t))
        with torch.no_grad():
            return float((self.displacement(t) - exact).square().mean())


@healthy(
    1200,
    suspicious="There are no targets, and the coordinates require gradients.",
    fine="A physics-informed network solves the equation of a damped oscillator.",
    source="https://github.com/fabiodimarco/torch-levenberg-marquardt/issues/7 https://github.com/erfanhamdi/pinn-torch/issues/1",
)
def damped_oscillator(seed, cured):
    """Build a physics-informed network."""
    return _Oscillator(), loader(3 * torch.rand(4096, 1, generator=generator(seed))), {}
