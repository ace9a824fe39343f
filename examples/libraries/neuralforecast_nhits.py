"""neuralforecast: each model makes a `Trainer` from its further arguments, so `callbacks=` goes to the model.

``pip install neuralforecast``. It trains copies of the models, with copies of their callbacks; `last_report` and your
own monitor have the report of the copy.
"""

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def passengers(airlines: int = 8, months: int = 144) -> pd.DataFrame:
    """Return a table of monthly numbers with a trend, a yearly season and noise."""
    month = np.arange(months)
    parts = []
    for airline in range(airlines):
        value = 100 + month + 20 * np.sin(2 * np.pi * (month + airline) / 12) + 5 * np.random.normal(size=months)
        dates = pd.date_range("2010-01-01", periods=months, freq="MS")
        parts.append(pd.DataFrame({"unique_id": f"airline {airline}", "ds": dates, "y": value}))
    return pd.concat(parts)


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    model = NHITS(
        h=12, input_size=24, max_steps=steps, learning_rate=rate, mlp_units=3 * [[64, 64]],
        callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False,
    )  # fmt: skip
    forecast = NeuralForecast(models=[model], freq="MS")
    forecast.fit(passengers())
    return forecast.models[0]


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
