"""Findings on a loss that is not finite: the operation, the entry of the batch or the steps that made it so."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.loss_sign import CHECK_THE_SIGN
from lightning_landscape.evidence import Cause, Evidence, Finding, LossLevel, NotFinite

GROWN = 1e3
"""growth of the largest weight from which on an overflow is the fault of the optimizer steps: training changes the
largest weight by a small factor"""
GROWN_FAR = 1e6
"""growth of the largest weight from which on the steps are at fault, whatever operation failed first"""
LARGEST_FLOAT16 = 65504
"""largest number in float16"""
ROOTS = {
    "sqrt": "torch.sqrt(x + {eps})",
    "rsqrt": "torch.rsqrt(x + {eps})",
    "norm": "(x.square().sum(-1) + {eps}).sqrt()",
    "cdist": "((a[:, None] - b[None]).square().sum(-1) + {eps}).sqrt()",
    "std": "(x.var(0) + {eps}).sqrt()",
    "pow": "x.clamp_min({eps}) ** p",
}
"""operations with an infinite slope at 0, and what to write in their place"""
LOGARITHMS = ("log", "log2", "log10", "log1p", "xlogy", "logit")
OTHER_LOGARITHMS = {
    "log1p": "torch.log1p(x.clamp_min(-1 + {near}))",
    "logit": "torch.logit(x, eps={near})",
    "xlogy": "torch.xlogy(x, y.clamp_min({eps}))",
}
"""logarithms of something else than their first argument, and what to write in their place"""
OF_LOGITS = {
    "softmax": "`F.log_softmax(x, -1)`, or `F.cross_entropy(x, target)`",
    "sigmoid": "`F.logsigmoid(x)`, or `F.binary_cross_entropy_with_logits(x, target)`",
}
"""what to write in place of the logarithm of a probability"""
QUOTIENTS = {"div": "x / (d + {eps})", "reciprocal": "1 / (x + {eps})"}
EXPONENTIALS = ("exp", "expm1", "exp2", "sinh", "cosh")
ON_AN_INTERVAL = ("acos", "asin", "atanh", "erfinv")
"""operations with an infinite slope at -1 and 1, and no value outside"""
MASKED = ("softmax", "log_softmax", "multi_head_attention_forward", "scaled_dot_product_attention")
AVERAGES = ("cross_entropy", "nll_loss", "mean", "std", "var", "std_mean", "var_mean")
"""operations that give NaN for too few values"""


def not_finite(evidence: Evidence) -> Finding | None:
    """Return what made the loss or its gradient not finite; None if that was not found."""
    reading = evidence.get(NotFinite)
    if reading is None:
        return None
    grown = GROWN if reading.where != "batch" and _overflows(reading) else GROWN_FAR
    if reading.where == "weights" or (reading.growth is not None and reading.growth >= grown):
        level = evidence.get(LossLevel)
        ran_down = level is not None and level.runs_down
        return _finding("not-finite-weights", _of_weights(reading), CHECK_THE_SIGN if ran_down else _ADVICE_FOR_STEPS)
    if reading.where == "batch":
        values = "NaN" if reading.outcome == "nan" else "infinite numbers"
        sentence = f"`{reading.operation}` contains {values}, which reach the loss."
        advice = f"Drop such samples, or replace the values: `x = torch.nan_to_num({reading.operation})`."
        return _finding("not-finite-batch", sentence, advice)
    return _finding("not-finite", _of_operation(reading), _advice(reading))


_ADVICE_FOR_STEPS = "Lower the learning rate tenfold, or clip the gradient: `Trainer(gradient_clip_val=1.0)`."


def _finding(name: str, sentence: str, advice: str) -> Finding:
    return Finding(name, Cause.DIVERGED, sentence, advice)


def _of_weights(reading: NotFinite) -> str:
    if reading.where != "weights":
        largest = f"the largest is {reading.growth:.2g} times the largest at the start, and {_call(reading)} fails"
    else:
        grown = "" if reading.growth is None else f", {reading.growth:.2g} times the largest at the start"
        largest = f"the largest was {reading.largest:.2g}{grown}, and the next step made one infinite or NaN"
    return f"The optimizer steps made the weights too large: {largest}{_when(reading)}."


def _of_operation(reading: NotFinite) -> str:
    if reading.where == "backward":
        value = "NaN" if reading.outcome == "nan" else "infinite"
        failed = f"where its gradient is {value} although the loss is finite"
        text = f"{_call(reading)} got {_given(reading) or 'values'}, {failed}{_when(reading)}."
    else:
        outcome = "NaN" if reading.outcome == "nan" else reading.outcome
        made = "is given" if reading.written else "gave"
        got = _given(reading)
        text = f"{_call(reading)}{f' got {got} and' if got else ''} {made} {outcome}"
        text += f"{' by the code itself' if reading.written else ''}, which reaches the loss{_when(reading)}."
    if reading.dtype == "float16" and _overflows(reading):
        text += f" In float16 the largest number is {LARGEST_FLOAT16}."
    return text


def _given(reading: NotFinite) -> str:
    """Return what the operation was given, in words; empty where it is not known."""
    if reading.inputs:
        return " and ".join(f"{value:.8g}" for value in reading.inputs)
    if reading.where == "backward" or reading.written:
        return ""
    if _averages_nothing(reading):
        return "too few values to average"
    if reading.operation in MASKED and not _overflows(reading):
        return "a row that is masked as a whole"
    return f"values up to {reading.largest:.2g}" if reading.largest else ""


def _call(reading: NotFinite) -> str:
    """Return the operation and where it is called."""
    module = f" in `{reading.module}`" if reading.module else ""
    code = f": `{reading.code}`" if reading.code and "`" not in reading.code else ""
    return f"`{reading.operation}`{module}" + (f" ({reading.place}{code})" if reading.place else "")


def _when(reading: NotFinite) -> str:
    """Return at which weights that was found."""
    known = "the initial weights" if reading.step == 0 else f"the weights of step {reading.step}"
    weights = "the present weights" if reading.step is None else known
    if not reading.repeated:
        return f" with {weights}"
    steps = "steps" if reading.repeated > 1 else "step"
    return f" when a copy of the model goes on from {weights} for {reading.repeated} optimizer {steps}"


def _overflows(reading: NotFinite) -> bool:
    """Return whether the operation has no singular point there, so that its result is merely too large."""
    operation, inputs = reading.operation, reading.inputs
    if operation in LOGARITHMS or operation in ON_AN_INTERVAL or reading.written or _averages_nothing(reading):
        return False
    if operation == "pow":
        return bool(inputs) and abs(inputs[0]) > 1
    if operation in QUOTIENTS:
        return bool(inputs) and abs(inputs[-1]) >= 1
    return reading.outcome != "nan" if operation in MASKED else operation not in ROOTS


def _averages_nothing(reading: NotFinite) -> bool:
    return reading.where == "forward" and reading.operation in AVERAGES and reading.outcome == "nan"


def _advice(reading: NotFinite) -> str:
    """Return one thing to do, with a line of code."""
    if reading.written:
        return "Write a finite number there: `torch.finfo(x.dtype).min` in place of -inf, or 0."
    if _averages_nothing(reading):
        return "Leave out batches without such values, or divide the sum yourself: `loss.sum() / count.clamp_min(1)`."
    if reading.operation in EXPONENTIALS:
        return f"Bound its input: `torch.{reading.operation}(x.clamp(max={10 if reading.dtype == 'float16' else 20}))`."
    if not _overflows(reading):
        return _advice_at_a_singular_point(reading)
    if reading.dtype == "float16":
        return 'Use bfloat16, whose range is that of float32: `Trainer(precision="bf16-mixed")`.'
    return "Keep the values small: a lower learning rate, inputs and targets of unit size, or `nn.LayerNorm` before it."


def _advice_at_a_singular_point(reading: NotFinite) -> str:
    operation, eps = reading.operation, "1e-4" if reading.dtype == "float16" else "1e-8"
    if operation in OTHER_LOGARITHMS:
        near = "1e-3" if reading.dtype == "float16" else "1e-6"
        return f"Keep its input where it is finite: `{OTHER_LOGARITHMS[operation].format(eps=eps, near=near)}`."
    if operation in LOGARITHMS and reading.after in OF_LOGITS:
        return f"Take the logarithm of the {reading.after} in one: {OF_LOGITS[reading.after]}."
    if operation in LOGARITHMS:
        return f"Keep its input above 0: `torch.{operation}(x.clamp_min({eps}))`."
    if operation in ROOTS:
        masked = "A `torch.where` after it does not help: 0 times an infinite gradient is NaN."
        return f"Keep its input away from 0: `{ROOTS[operation].format(eps=eps)}`. {masked}"
    if operation in QUOTIENTS:
        return f"Keep the divisor away from 0: `{QUOTIENTS[operation].format(eps=eps)}`."
    if operation in ON_AN_INTERVAL:
        near = "1e-3" if reading.dtype == "float16" else "1e-6"
        return f"Keep its input inside the interval: `torch.{operation}(x.clamp(-1 + {near}, 1 - {near}))`."
    return "Leave one entry of each row unmasked: `mask[mask.all(-1)] = False`, where True means masked."
