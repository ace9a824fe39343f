"""A layout for TensorBoard's Custom Scalars tab, as a value that can be merged with one's own.

TensorBoard shows the last layout that a run has written, so ours is never written unasked: it would erase the user's.
"""

from __future__ import annotations

Layout = dict[str, dict[str, list[object]]]


def landscape_layout() -> Layout:
    """What ``SummaryWriter.add_custom_scalars`` takes, under the category "Landscape".

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
