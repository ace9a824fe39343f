"""A layout for TensorBoard's Custom Scalars tab, which users can merge with their own.

TensorBoard shows only the last layout that a run has written. This library therefore never writes one by itself, since
it would replace the user's.
"""

from __future__ import annotations

Layout = dict[str, dict[str, list[str | list[str]]]]
"""category -> chart -> [kind of chart, patterns of the tags in it], as `SummaryWriter.add_custom_scalars` takes it"""


def landscape_layout() -> Layout:
    """Return a layout of all scalars of this library, under the category "Landscape".

    >>> mine = {"Mine": {"losses": ["Multiline", ["train_loss", "val_loss"]]}}
    >>> list(mine | landscape_layout())
    ['Mine', 'Landscape']
    """
    charts = {
        "gradient norm": ["grad_norm", "grad_norm_clipped"],
        "plateau": ["plateau_length"],
        "trend of the loss": ["loss_trend"],
        "update ratio": ["update_ratio"],
        "gradient noise scale": ["noise_scale"],
        "barrier": ["barrier"],
        "ends of the spectrum": ["lambda_max", "lambda_min"],
        "verdict": ["verdict"],
    }
    return {
        "Landscape": {chart: ["Multiline", [f"landscape/{name}$" for name in names]] for chart, names in charts.items()}
    }
