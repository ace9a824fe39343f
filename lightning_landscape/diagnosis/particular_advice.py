"""What to try against dead and saturated units, vanishing gradients and weight decay, with the names of layers."""

from __future__ import annotations

from lightning_landscape.evidence import Activity, Evidence, GradientScale


def against_dead_units(evidence: Evidence) -> str:
    """Return what brings the units of the dead layer back."""
    activity = evidence.get(Activity)
    layer = None if activity is None else activity.dead_layer
    before = _before(evidence, layer)
    return (
        f"re-initialise {before}, and check its bias: units whose inputs are all negative come back by no step.\n"
        f"`nn.LeakyReLU()` in place of `{layer}`: its units cannot die."
    )


def against_saturated_units(evidence: Evidence) -> str:
    """Return what brings the saturated layer back to where it has a slope."""
    activity = evidence.get(Activity)
    layer = None if activity is None else activity.saturated_layer
    return (
        f"smaller inputs of `{layer}`: `nn.LayerNorm(width)` before it, or `nn.init.xavier_normal_(layer.weight)` for "
        f"{_before(evidence, layer)}.\n"
        f"`nn.ReLU()` in place of `{layer}`: it does not saturate."
    )


def against_vanishing_gradients(evidence: Evidence) -> str:
    """Return what keeps the gradient alive between the last and the first layers."""
    gradient, activity = evidence.get(GradientScale), evidence.get(Activity)
    groups = [] if gradient is None else list(gradient.reached.groups)
    between = f" between `{groups[0]}` and `{groups[-1]}`" if len(groups) > 1 else ""
    residual = f"residual connections{between}, `x = x + layer(x)`, or normalisation layers, `nn.LayerNorm(width)`."
    initialised = "`nn.init.kaiming_normal_(layer.weight)`"
    if activity is not None and activity.saturated_layer is not None:
        return f"{residual}\n`nn.ReLU()` in place of `{activity.saturated_layer}` and others, with {initialised}."
    if activity is not None and activity.dead_layer is not None:
        return f"{residual}\nan initialisation made for ReLU, {initialised}, in place of the present one."
    return f"{residual}\nan initialisation that keeps the size of what passes through, as {initialised} does for ReLU."


def against_weight_decay() -> str:
    """Return what to do if weight decay and gradient cancel each other."""
    return (
        "if the loss should be lower, a smaller weight decay: `weight_decay=...` of the optimizer in "
        "`configure_optimizers`."
    )


def _before(evidence: Evidence, layer: str | None) -> str:
    """Return the layer before this activation in words, with its name if the two are neighbours in a sequence."""
    gradient = evidence.get(GradientScale)
    container, _, index = (layer or "").rpartition(".")
    name = f"{container}.{int(index) - 1}" if index.isdecimal() and int(index) else ""
    known = gradient is not None and name in gradient.groups
    return f"`{name}`, the layer before it" if known else "the layer before it"
