"""Healthy programs that compare samples with each other, or attend to parts of a sample."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import brackets, digits, generator, loader
from benchmarks.reported_mistakes.modules import Recipe, Residual, Rows
from benchmarks.reported_mistakes.registry import healthy


class _TwoModes(Recipe):
    def __init__(self):
        super().__init__()
        self.upper = nn.Sequential(nn.Flatten(), nn.Linear(32, 48), nn.GELU(), nn.Linear(48, 24))
        self.lower = nn.Sequential(nn.Flatten(), nn.Linear(32, 48), nn.GELU(), nn.Linear(48, 24))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def loss_of(self, batch):
        (x,) = batch
        a, b = F.normalize(self.upper(x[:, :4]), dim=1), F.normalize(self.lower(x[:, 4:]), dim=1)
        scores = self.scale.exp() * a @ b.T
        own = torch.arange(len(x))
        return 0.5 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))


@healthy(
    900,
    suspicious="The loss begins at the logarithm of the batch size and falls slowly.",
    fine="A contrastive loss with a learned temperature begins there.",
    source="https://github.com/mlfoundations/open_clip/issues/214 https://github.com/google-research/simclr/issues/141",
)
def halves_of_an_image(seed, cured):
    """Build two networks that find out which upper half belongs to which lower half."""
    return _TwoModes(), loader(digits()[0], batch=128), {}


class _Map(Recipe):
    rate = 3e-3

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def loss_of(self, batch):
        x, _ = batch
        z, flat = self.net(x), x.flatten(1)
        # These two differences broadcast on purpose: each row minus each row.
        far = ((flat.unsqueeze(1) - flat.unsqueeze(0)).square().sum(2) + 1e-6).sqrt()
        near = ((z.unsqueeze(1) - z.unsqueeze(0)).square().sum(2) + 1e-6).sqrt()
        return (far - near).square().mean()


@healthy(
    700,
    suspicious="Rows are subtracted from columns, and the loss stays far above 0.",
    fine="Distances between all pairs are meant, and two dimensions cannot hold all of them.",
    source="https://github.com/pytorch/pytorch/pull/18349",
)
def map_of_distances(seed, cured):
    """Build a map of digits that keeps their distances."""
    return _Map(), loader(*digits(), batch=48), {}


class _Bags(Recipe):
    def __init__(self):
        super().__init__()
        self.look, self.score = Rows(24, width=16), nn.Linear(24, 1)
        self.head = nn.Linear(24, 1)

    def loss_of(self, batch):
        x, y = batch
        h = self.look(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        weights = self.score(h.tanh()).softmax(1)
        return F.binary_cross_entropy_with_logits(self.head((weights * h).sum(1)).squeeze(1), y)


@healthy(
    800,
    suspicious="A softmax stands in the middle of the network, and the loss stays at 0.69 at first.",
    fine="The softmax gives the weights of attention over a bag, not the answer.",
    source="https://discuss.pytorch.org/t/bce-loss-stuck-at-0-693-in-the-beginnng-of-training-and-then-started-to-decrease-why/183958",
)
def attention_over_bags(seed, cured):
    """Build a network that says whether one of six images is a 9."""
    x, y = digits()
    g = generator(seed)
    nines, others = (y == 9).nonzero().squeeze(1), (y != 9).nonzero().squeeze(1)
    bags = others[torch.randint(len(others), (1600, 6), generator=g)]
    bags[::2, 0] = nines[torch.randint(len(nines), (800,), generator=g)]
    answer = torch.zeros(1600)
    answer[::2] = 1
    return _Bags(), loader(x[bags], answer, batch=32), {}


class _Masked(Recipe):
    rate = 2e-3

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Linear(8, 48), nn.Parameter(0.1 * torch.randn(8, 48))
        self.hole = nn.Parameter(torch.zeros(48))
        self.attend, self.norm = nn.MultiheadAttention(48, 4, batch_first=True), nn.LayerNorm(48)
        self.body, self.head = Residual(48, 96), nn.Linear(48, 8)

    def loss_of(self, batch):
        x, _ = batch
        hidden = torch.rand(x.shape[:2]) < 0.4
        h = torch.where(hidden[..., None], self.hole, self.embed(x)) + self.place
        h = self.norm(h + self.attend(h, h, h, need_weights=False)[0])
        return (self.head(self.body(h)) - x)[hidden].square().mean()


@healthy(
    1000,
    suspicious="Only hidden rows count in the loss, and it soon falls very slowly.",
    fine="Rows that are hidden cannot be known exactly.",
    source="https://github.com/facebookresearch/mae/issues/190 https://github.com/pengzhiliang/MAE-pytorch/issues/103",
)
def masked_rows(seed, cured):
    """Build a masked autoencoder over the rows of digits."""
    return _Masked(), loader(*digits(), batch=32), {}


class _Signals(Recipe):
    rate = 3e-3

    def __init__(self):
        super().__init__()
        self.speaker = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.listener = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))

    def loss_of(self, batch):
        x, y = batch
        word = F.gumbel_softmax(self.speaker(x), tau=1.0, hard=True)
        return F.cross_entropy(self.listener(word), y)


@healthy(
    900,
    suspicious="A one-hot vector stands between two networks, and the loss is noisy.",
    fine="gumbel_softmax with hard=True passes a gradient on.",
    source="https://www.codegenes.net/blog/pytorch-argmax-gradient",
)
def gumbel_words(seed, cured):
    """Build a speaker and a listener with a vocabulary of 16 words."""
    return _Signals(), loader(*digits()), {}


class _Language(Recipe):
    rate = 3e-3

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 32)
        self.gru, self.out = nn.GRU(32, 32, batch_first=True), nn.Linear(32, 10, bias=False)
        self.out.weight = self.embed.weight

    def loss_of(self, batch):
        x, _ = batch
        h, _ = self.gru(self.embed(x[:, :-1]))
        return F.cross_entropy(self.out(h).flatten(0, 1), x[:, 1:].flatten())


@healthy(
    700,
    suspicious="The loss stays above 2.1 after a quick fall, and a parameter is used twice.",
    fine="The tokens are random; the entropy is the floor, and the weights are tied on purpose.",
    source="https://github.com/facebookresearch/mae/issues/16",
)
def language_of_chance(seed, cured):
    """Build a small language model of tokens that are high or low."""
    return _Language(), loader(*brackets(seed)), {}
