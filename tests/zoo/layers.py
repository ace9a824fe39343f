"""Layers for which it is hard to evaluate the module at other weights."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.zoo.plain import Classifier, Perceptron
from tests.zoo.specimen import specimen


@specimen()
class Attention(Classifier):
    """Attention kernels without a second derivative, with dropout inside the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(1, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.query, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        encoded = self.encoder(self.embedding(batch[0].unsqueeze(-1)))
        query = self.query(encoded).unsqueeze(1)
        attended = F.scaled_dot_product_attention(query, query, query, dropout_p=0.1 if self.training else 0.0)
        loss = F.cross_entropy(self.head(attended.squeeze(1).mean(1)), batch[1])
        self.log("loss", loss)
        return loss


@specimen()
class TiedAndReparametrized(Classifier):
    """One weight under two names, the deprecated weight_norm (a non-leaf attribute), spectral_norm (a buffer)."""

    def __init__(self) -> None:
        super().__init__()
        self.coder, self.decoder = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.decoder.weight = self.coder.weight
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.weighted = torch.nn.utils.weight_norm(nn.Linear(8, 8))
        self.spectral = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        hidden = torch.tanh(self.weighted(self.decoder(torch.relu(self.coder(batch[0])))))
        return F.cross_entropy(self.head(self.spectral(hidden)), batch[1])


class Checkpointed(Classifier):
    reentrant = False

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.3), nn.Tanh())
        self.head = nn.Linear(32, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs = batch[0].requires_grad_(self.reentrant)
        hidden = checkpoint(self.first, inputs, use_reentrant=self.reentrant)
        return F.cross_entropy(self.head(hidden), batch[1])


@specimen()
class Recomputed(Checkpointed):
    """Activations are recomputed in the backward pass, with the weights that the module has at that time."""


@specimen(once_differentiable="re-entrant")
class RecomputedReentrant(Checkpointed):
    """Re-entrant checkpointing, whose weights torch.autograd.grad treats as unused without a warning."""

    reentrant = True


@specimen()
class CompiledPart(Classifier):
    """A compiled submodule: a call with inputs of another kind would compile another graph."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)), backend="eager")


@specimen(prepare=lambda module: torch.compile(module, backend="eager"))
class CompiledWhole(Classifier):
    """A compiled LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])


@specimen()
class RenormalizedEmbedding(Classifier):
    """The forward pass changes the weights: Embedding(max_norm=...)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 4, max_norm=0.5)
        self.head = nn.Linear(12, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels = batch
        before = self.embedding((labels + 1) % 3)
        return F.cross_entropy(self.head(torch.cat([inputs, before], 1)), labels)


@specimen()
class Hooked(Perceptron):
    """Hooks on a module's forward and backward pass and on a weight's gradient, which count their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = {"forward": 0, "backward": 0, "gradient": 0}
        self.net[0].register_forward_hook(lambda *args: self._count("forward"))
        self.net[2].register_full_backward_hook(lambda *args: self._count("backward"))
        self.net[0].weight.register_hook(lambda gradient: self._count("gradient"))

    def _count(self, kind: str) -> None:
        self.calls[kind] += 1


@specimen()
class ParameterAside(Classifier):
    """A parameter that the step also uses through a plain object."""

    class Reference:
        def __init__(self, weight: nn.Parameter) -> None:
            self.weight = weight
            self.norms: list[Tensor] = []

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)
        self.reference = self.Reference(self.net.weight)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        penalty = self.reference.weight.pow(2).sum()
        self.reference.norms.append(penalty.detach())
        return F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-2 * penalty + 1e-4 * len(self.reference.norms)
