"""GluonTS: an estimator makes the `Trainer` from `trainer_kwargs`, to which the monitor goes.

``pip install "gluonts[torch]" lightning``
"""

import numpy as np
import pandas as pd
from gluonts.dataset.common import ListDataset
from gluonts.torch import DeepAREstimator
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def series(count: int = 20, length: int = 200) -> ListDataset:
    """Return series with a daily season, levels of their own, and noise."""
    hour = np.arange(length)
    rows = [5 + i + 3 * np.sin(2 * np.pi * (hour + i) / 24) + np.random.normal(size=length) for i in range(count)]
    return ListDataset([{"start": pd.Period("2024-01-01", "h"), "target": row} for row in rows], freq="h")


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    estimator = DeepAREstimator(
        freq="h", prediction_length=12, context_length=24, num_layers=1, hidden_size=24, lr=rate, batch_size=32,
        lags_seq=[1, 2, 24], num_batches_per_epoch=50,
        trainer_kwargs={"max_steps": steps, "max_epochs": 1000, "callbacks": callbacks, "accelerator": "cpu",
                        "logger": False, "enable_progress_bar": False},
    )  # fmt: skip
    return estimator.train_model(series()).trained_net


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
