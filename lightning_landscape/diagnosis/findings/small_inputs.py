"""The finding that the inputs are far smaller than those that layers are initialised for."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.wiring import stuck_from_the_start
from lightning_landscape.evidence import BatchContents, Cause, Evidence, Finding

SMALL = 0.005
"""root mean square of the inputs below which the bias of a layer makes its outputs, and not the inputs; vectors of
length 1 with 20,000 entries, such as bags of words, have 0.007, and their outputs are as large as the bias"""


def small_inputs(evidence: Evidence) -> Finding | None:
    """Return `input-scale` if the first layer receives numbers far below 1, and the loss stands where it began.

    Its outputs are nearly the same for all samples then, so the loss is on a plateau until its weights have grown.
    """
    contents = evidence.get(BatchContents)
    if contents is None or contents.first_layer is None or "Norm" in contents.first_layer_kind:
        return None
    if not 0 < contents.input_size < SMALL or not contents.inputs_vary or not stuck_from_the_start(evidence):
        return None
    return Finding(
        "input-scale",
        Cause.FLAT_REGION,
        f"The first layer, {contents.first_layer or 'the model'}, receives inputs of size {contents.input_size:.2g} "
        "(root mean square), but layers are initialised for inputs of size 1, so its outputs hardly depend on them.",
        "normalise the inputs, each feature by its own mean and standard deviation: `x = (x - x.mean(0)) / x.std(0)`. "
        "Were they divided twice, as images by 255?",
        "evidence",
    )
