"""Trials: a few optimizer steps on a copy of the weights, judged on batches that they did not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.evidence import InputUse, Restart, StartingPoint, Trials
from lightning_landscape.functional.interpolation import interpolate
from lightning_landscape.surface import LossSurface, Params, costs

RESCUE_RATE = 1e-2
"""learning rate of Adam in a rescue: large, so that forty steps go somewhere"""
FACTORS = {"learning rate x0.1": 0.1, "this optimizer": 1.0, "learning rate x10": 10.0}
"""trials with the run's own optimizer, by the factor on its learning rate"""
FEWEST = 8
"""steps below which a trial shows nothing"""
SEARCHED = 7
"""points at which a line search evaluates the loss"""
SHORTEST = 100
"""steps below which a run from re-drawn weights shows nothing"""
PLAIN = 0.3
"""gain of a restart after which no further one is made"""


@costs(lambda surface: surface.measuring(2))
def starting_point(surface: LossSurface) -> StartingPoint | None:
    """The loss of the initial weights beside that of the present ones; None where nobody kept the initial ones.

    The first losses of a run are noisy, and those of a run that blows up at once say nothing of where it began.
    """
    start = surface.anchors.get("initial")
    if start is None:
        return None
    point = interpolate(start, surface.here, 0.0)
    if surface.run.frozen_since is not None:
        point |= surface.run.frozen_since("initial")
    return StartingPoint(
        loss_value(surface.loss, point), loss_value(surface.loss, surface.here), len(surface.batch_losses)
    )


@costs(lambda surface: 0.0 if surface.pairing is None else surface.pairing.forward_passes / 3)
def input_use(surface: LossSurface) -> InputUse | None:
    """The loss with inputs and targets as they are and paired at random; None where that tells nothing.

    That is where the entries of a batch cannot be told apart, or where a loss is not finite. It takes
    `Pairing.forward_passes`.
    """
    pairing = surface.pairing
    if pairing is None:
        return None
    losses = [loss_value(batch, surface.here) for batch in pairing.paired_losses]
    roles = pairing.roles()
    broken = (
        [loss_value(batch, surface.here) for batch in pairing.mispaired_losses(roles.targets)]
        if roles.targets
        else losses
    )
    if not all(map(math.isfinite, (*losses, *broken))):
        return None
    loss, shuffled = sum(losses) / len(losses), sum(broken) / len(broken)
    moved = max(abs(other - whole) for whole, other in zip(losses, broken, strict=True))
    return InputUse(
        loss=loss,
        shuffled=shuffled,
        moved=moved / abs(loss) if loss else 0.0,
        varied=roles.inputs_vary,
        targets=tuple(".".join(map(str, place)) for place in roles.targets),
        paired=bool(roles.targets),
    )


@dataclass(frozen=True)
class CopyTrials:
    """Try on a copy: the run's own optimizer at several learning rates, Adam, a line search, the mean of the path.

    It takes `steps` gradients of one batch for each of four walks; where the surface's `gradients` are fewer, the walks
    are shorter.
    """

    steps: int = 40

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, surface: LossSurface) -> Trials | None:
        """The gains, or None where there are no batches left to judge on."""
        judge = surface.held_out
        if judge is None:
            return None
        here = loss_value(judge, surface.here)
        gradient = _gradient(surface.loss, surface.here)
        size = {name: _norm(list(params.values())) for name, params in (("g", gradient), ("w", surface.here))}
        steps = self._steps(surface)
        ends = {
            "adam": walk(surface, surface.here, adam(surface), steps)[0],
            "line search": _line_search(surface, gradient, size),
        }
        if surface.run.optimizer_copy is not None:
            for name, factor in FACTORS.items():
                end, mean = walk(surface, surface.here, surface.run.optimizer_copy(factor), steps)
                ends |= {name: end, "mean of the path": mean} if factor == 1.0 else {name: end}
        return Trials(
            gains={name: relative_gain(judge, end, here) for name, end in ends.items()},
            steps=steps,
            relative_gradient=size["g"] * max(size["w"], 1.0) / abs(here) if here else math.inf,
            decay_pull=_decay_pull(surface, size),
            samples=surface.run.samples,
            batches=max(1, len(surface.batch_losses)),
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface."""
        walks, fixed = _price(surface)
        return fixed + walks * self._steps(surface)

    def _steps(self, surface: LossSurface) -> int:
        walks, fixed = _price(surface)
        return max(min(FEWEST, self.steps), surface.steps_within_budget(self.steps, walks, fixed))


def _price(surface: LossSurface) -> tuple[int, float]:
    """Walks of a set of trials, and the gradients for all else: one here, a line search, and judging every end."""
    walks = 1 if surface.run.optimizer_copy is None else 1 + len(FACTORS)
    ends = 2 if surface.run.optimizer_copy is None else walks + 2
    return walks, surface.batches + surface.measuring(SEARCHED) + surface.judging(1 + ends)


def walk(surface: LossSurface, start: Params, step: Step, steps: int, batches: int = 1) -> tuple[Params, Params]:
    """Where so many steps on so many batches each lead from `start`, and the mean of the points on the way."""
    point = {name: weight.detach().clone() for name, weight in start.items()}
    mean = {name: torch.zeros_like(weight) for name, weight in point.items()}
    for i in range(steps):
        slopes = [_gradient(_part(surface, i * batches + k), point).values() for k in range(batches)]
        step(point, list(slopes[0]) if batches == 1 else [torch.stack(s).mean(0) for s in zip(*slopes, strict=True)])
        for name, weight in point.items():
            mean[name] += weight / steps
    return point, mean


@dataclass(frozen=True)
class RedrawnRestart:
    """Train anew from re-drawn weights with Adam; it takes `seeds` · `steps` gradients of one batch, so it comes last.

    A gain of `PLAIN` needs no second opinion. Where the surface's `gradients` do not pay for all, there are fewer seeds
    and fewer steps, at least 100.
    """

    seeds: int = 2
    steps: int = 300

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.steps < 1:
            raise ValueError(f"seeds and steps must be at least 1, got {self.seeds} and {self.steps}")

    def __call__(self, surface: LossSurface) -> Restart | None:
        """The best gain, or None where the weights cannot be re-drawn."""
        judge = surface.held_out
        if surface.run.reinitialize is None or judge is None:
            return None
        seeds, steps = self._plan(surface)
        here, batch = loss_value(judge, surface.here), _part(surface, 0)
        runs: list[tuple[float, float]] = []
        for seed in range(seeds):
            start = surface.run.reinitialize(seed)
            end, _ = walk(surface, start, adam(surface), steps)
            runs.append((relative_gain(judge, end, here), relative_gain(batch, end, loss_value(batch, start))))
            if runs[-1][0] > PLAIN:
                break
        gain, fallen = max(runs)
        return Restart(gain, len(runs), steps, fallen)

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface, at most; 0 where it has nothing to say."""
        if surface.run.reinitialize is None or surface.held_out is None:
            return 0.0
        seeds, steps = self._plan(surface)
        return seeds * (steps + _price_of_an_end(surface)) + surface.judging(1)

    def _plan(self, surface: LossSurface) -> tuple[int, int]:
        """Seeds, and steps of each."""
        here, end = surface.judging(1), _price_of_an_end(surface)
        steps = max(min(SHORTEST, self.steps), surface.steps_within_budget(self.steps, fixed=here + end))
        return max(1, surface.steps_within_budget(self.seeds, steps + end, here)), steps


def _price_of_an_end(surface: LossSurface) -> float:
    """Of judging where a restart has led, and of one batch before and after it."""
    return surface.judging(1) + 2 / 3


Step = Callable[[Mapping[str, Tensor], Sequence[Tensor]], None]
"""Moves a point in place, given the gradient there."""


def adam(surface: LossSurface, rate: float = RESCUE_RATE) -> Step:
    """Adam with the run's own weight decay, since a run in balance with its decay is not to be rescued from it."""
    moments: dict[str, tuple[Tensor, Tensor]] = {}
    taken = [0]

    @torch.no_grad()
    def step(point: Mapping[str, Tensor], gradient: Sequence[Tensor]) -> None:
        taken[0] += 1
        for (name, weight), slope in zip(point.items(), gradient, strict=True):
            slope = slope if surface.run.decoupled_decay else slope + surface.run.weight_decay * weight
            if surface.run.decoupled_decay:
                weight.mul_(1 - rate * surface.run.weight_decay)
            first, second = moments.setdefault(name, (torch.zeros_like(weight), torch.zeros_like(weight)))
            first.lerp_(slope, 0.1)
            second.lerp_(slope * slope, 0.001)
            scale = (second / (1 - 0.999 ** taken[0])).sqrt_().add_(1e-8)
            weight.sub_(rate / (1 - 0.9 ** taken[0]) * first / scale)

    return step


@torch.no_grad()
def _line_search(surface: LossSurface, gradient: Params, size: Mapping[str, float]) -> Params:
    """The best point on the measured batches along -g: here, or a step of 0.1% to 30% of the weights' norm."""
    if not 0 < size["g"] < math.inf:
        return surface.here
    reach = [share * max(size["w"], 1.0) / size["g"] for share in (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)]
    points = [{n: w - distance * gradient[n] for n, w in surface.here.items()} for distance in reach]
    losses = [loss_value(surface.loss, point) for point in points]
    return min(zip(losses, points, strict=True), key=lambda pair: pair[0] if pair[0] == pair[0] else math.inf)[1]


def _decay_pull(surface: LossSurface, size: Mapping[str, float]) -> float:
    """Adaptive optimizers scale every gradient to about 1 a weight before a decoupled decay acts beside it."""
    count = sum(weight.numel() for weight in surface.here.values())
    against = count**0.5 if surface.run.decoupled_decay else size["g"]
    return surface.run.weight_decay * size["w"] / against if against else 0.0


def _part(surface: LossSurface, step: int) -> Callable[[Params], Tensor]:
    """The batch for this step of a trial; a surface that does not part its loss has one batch."""
    return surface.batch_losses[step % len(surface.batch_losses)] if surface.batch_losses else surface.loss


def _gradient(loss: Callable[[Params], Tensor], point: Params) -> dict[str, Tensor]:
    leaves = {name: weight.detach().requires_grad_() for name, weight in point.items()}
    with torch.enable_grad():
        value = loss(leaves)
    parts = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, parts, strict=True))


@torch.no_grad()
def loss_value(loss: Callable[[Params], Tensor], point: Params) -> float:
    """The loss at a point, as a number."""
    return float(loss(point))


def relative_gain(judge: Callable[[Params], Tensor], end: Params, here: float) -> float:
    """Fall of the judged loss from `here` to this point, over the loss; -inf where it is not finite."""
    share = (here - loss_value(judge, end)) / abs(here) if here else 0.0
    return share if math.isfinite(share) else -math.inf


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([tensor.float().norm() for tensor in tensors]).norm())
