"""Findings about one of several optimizers, such as those of a GAN, or of an actor and a critic.

Their losses need not fall, so nothing here asks for that. What can be told is whether each optimizer moves its weights,
whether these are finite, and whether one network has left another without a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape._text import percent
from lightning_landscape.evidence import Cause, Evidence, Finding, Plateau, Player, Players

LEAST_ELAPSED = 0.1
"""share of the planned run that has to have passed before an optimizer is judged"""
LEAST_STEPS, LEAST_MEASURED = 30, 3
"""steps of an optimizer, and measured updates, that have to be known before it is judged"""
TRAVEL_NONE = 2e-3
"""If all updates of the planned run add up to less than this share of the norm of the weights, the weights stay where
they are; a run that fine-tunes a trained network with Adam at a rate of 1e-6 goes this far in 40 steps."""
TRAVEL_SHORT = 2e-2
"""The same for weights whose updates also change the loss by less than `CHANGE_NONE`."""
CHANGE_NONE = 0.1
"""share of the standard deviation of the losses; a smaller change of the loss cannot be seen in them"""
GRADIENT_THERE = 1e-3
"""|g|·|w| over the standard deviation of the losses, below which the gradient itself is too small"""
GRADIENT_GONE = 0.03
"""If less than this share of the gradient norm is left, the network gets no more gradient to learn from."""
HALF_OF_THE_RUN = 0.5
"""A network that is trained from a later step on, by design, is trained before this share of the run."""
AT_ZERO_FOR = 0.25
"""share of the planned run for which a discriminator has to stay at 0; some generators recover after a tenth"""


def not_finite_weights(evidence: Evidence) -> Finding | None:
    """Return `not-finite-weights` if the weights that one of several optimizers trains are NaN or infinite."""
    players = evidence.get(Players)
    lost = [] if players is None else [p for p in players.players if p.not_finite_since is not None]
    if not lost:
        return None
    first = min(lost, key=lambda player: player.not_finite_since or 0)
    rate = "" if first.learning_rate is None else f" than {first.learning_rate:.3g}"
    return Finding(
        "not-finite-weights",
        Cause.DIVERGED,
        f"The weights of {first.label} are NaN or infinite since step {first.not_finite_since}.",
        f"a smaller learning rate for it{rate}, and gradient clipping: "
        "`self.clip_gradients(optimizer, gradient_clip_val=1.0)` before its step.",
    )


def optimizer_without_updates(evidence: Evidence) -> Finding | None:
    """Return `optimizer-without-updates` if one of several optimizers gets no gradient, or has a learning rate of 0.

    A network may be trained from a later step on, so a missing gradient, and a rate that a scheduler sets to 0, count
    from the middle of the run on.
    """
    players = evidence.get(Players)
    if players is None:
        return None
    late = (players.elapsed or 0.0) >= HALF_OF_THE_RUN
    known = [player for player in players.players if _is_known(player, players)]
    without = [player for player in known if player.with_gradient == 0] if late else []
    if without:
        return Finding(
            "optimizer-without-updates",
            Cause.NOT_UPDATING,
            f"No gradient has reached the weights of {_listed(without)} in {_steps(without)} steps, so they have not "
            "moved.",
            "look for `.detach()` or `torch.no_grad()` between these weights and the loss that is given to "
            "`self.manual_backward`: the loss of a generator needs `critic(fake)`, and only that of the critic "
            "`critic(fake.detach())`. Call `optimizer.zero_grad()` before `manual_backward`, not after it.",
        )
    zero = [p for p in known if p.learning_rate == 0 and p.travel == 0 and (late or not p.scheduled)]
    if not zero:
        return None
    return Finding(
        "optimizer-without-updates",
        Cause.NOT_UPDATING,
        f"The learning rate of {_listed(zero)} is 0, so its weights have not moved in {_steps(zero)} steps.",
        "give it a learning rate in `configure_optimizers`, as in `torch.optim.Adam(..., lr=2e-4)`.",
    )


def optimizer_stands_still(evidence: Evidence) -> Finding | None:
    """Return `optimizer-stands-still` if the updates of one of several optimizers are tiny against its weights.

    Either all updates of the planned run together hardly move the weights, or they move them a little, but change the
    loss by less than can be seen in its noise. The optimizer must have a gradient, and its rate must not be 0.
    """
    players = evidence.get(Players)
    if players is None:
        return None
    still = [player for player in players.players if _is_known(player, players) and _stands_still(player)]
    if not still:
        return None
    example = min(still, key=lambda player: player.travel or 0.0)
    others = [p for p in players.players if p not in still and p.update_ratio and p.learning_rate is not None]
    beside = ""
    if others:
        faster = max(others, key=lambda player: player.update_ratio or 0.0)
        beside = f" One step of {faster.label} moves its weights by {_share(faster.update_ratio)} of their norm."
    rate = example.learning_rate or 0.0
    return Finding(
        "optimizer-stands-still",
        Cause.LEARNING_RATE_TOO_SMALL,
        f"The learning rate of {_listed(still)} is {' and '.join(dict.fromkeys(_rate(p) for p in still))}: one step "
        f"moves the weights by {_share(example.update_ratio)} of their norm, and all steps of the planned run together "
        f"by {_share(example.travel)} (threshold {_share(TRAVEL_SHORT)}).{beside}",
        f"a larger learning rate than {rate:.2g}: GANs are often trained with `torch.optim.Adam(..., lr=2e-4)`, an "
        "actor and a critic with `lr=3e-4`.",
    )


def discriminator_wins(evidence: Evidence) -> Finding | None:
    """Return `discriminator-wins` if the loss of one optimizer stays at 0, and another has lost its gradient.

    The loss of the other one must not have fallen: where both networks have solved their tasks, nothing is wrong.
    """
    players = evidence.get(Players)
    if players is None or players.elapsed is None:
        return None
    for winner in players.players:
        if not _is_known(winner, players) or not _at_zero_for_long(winner, evidence, players.elapsed):
            continue
        losers = [p for p in players.other_than(winner) if _is_known(p, players) and _has_lost_its_gradient(p)]
        if losers:
            loser = losers[0]
            return Finding(
                "discriminator-wins",
                Cause.FLAT_REGION,
                f"The loss of {winner.label} has been at 0 since step {winner.near_zero_since}, and the gradient of "
                f"{loser.label} has fallen to {_share(_left(loser))} of what it was, while its loss went from "
                f"{loser.loss_start:.3g} to {loser.loss_now:.3g}: the first network tells all samples apart, and the "
                "second one learns nothing from it any more.",
                "for the generator, a loss that keeps its gradient: `F.softplus(-critic(fake)).mean()` in place of "
                "`-F.softplus(critic(fake)).mean()`; and a weaker critic: a smaller learning rate for it, or noise "
                "on all that it sees, about as large as the spread of the data: `x + torch.randn_like(x)`.",
            )
    return None


def _is_known(player: Player, players: Players) -> bool:
    """Return whether the optimizer has taken enough steps, of a run of which enough has passed, to be judged.

    Until the middle of the run, one that steps seldom is waited for, so that one verdict names all.
    """
    elapsed = players.elapsed
    least = LEAST_STEPS * (10 if elapsed is None else 1)
    waits = (elapsed or 0.0) < HALF_OF_THE_RUN and any(0 < other.steps < least for other in players.players)
    early = elapsed is not None and elapsed < LEAST_ELAPSED
    return not early and not waits and player.steps >= least


def _stands_still(player: Player) -> bool:
    if player.travel is None or player.measured < LEAST_MEASURED or not player.learning_rate or not player.grad_now:
        return False
    spread = player.loss_spread or 0.0
    gradient = player.grad_now * (player.weight_norm or 0.0)
    if spread and gradient < GRADIENT_THERE * spread:
        return False
    if player.travel < TRAVEL_NONE:
        return True
    return player.travel < TRAVEL_SHORT and player.predicted is not None and player.predicted < CHANGE_NONE * spread


def _at_zero_for_long(player: Player, evidence: Evidence, elapsed: float) -> bool:
    """Return whether the loss of this optimizer has stayed at 0 for a quarter of the run, after it began above 0."""
    if player.near_zero_since is None or not player.loss_start:
        return False
    plateau = evidence.get(Plateau)
    step = 0 if plateau is None else plateau.step
    return (step - player.near_zero_since) / max(1, step + 1) * elapsed >= AT_ZERO_FOR


def _has_lost_its_gradient(player: Player) -> bool:
    start, now, spread = player.loss_start, player.loss_now, player.loss_spread
    if start is None or now is None or spread is None or player.with_gradient < LEAST_STEPS:
        return False
    return _left(player) < GRADIENT_GONE and now >= start


def _left(player: Player) -> float:
    """Return the share of the largest gradient norm that is left; 1 if it was not measured."""
    return player.grad_now / player.grad_largest if player.grad_largest and player.grad_now is not None else 1.0


def _listed(players: Sequence[Player]) -> str:
    return " and of ".join(player.label for player in players)


def _steps(players: Sequence[Player]) -> int:
    return min(player.steps for player in players)


def _rate(player: Player) -> str:
    return f"{player.learning_rate:.2g}"


def _share(share: float | None) -> str:
    return "an unknown share" if share is None else percent(share)
