"""darts: each model makes its own `Trainer` from `pl_trainer_kwargs`, to which the monitor goes.

``pip install "darts[torch]"``
"""

import numpy as np
from darts import TimeSeries
from darts.models import NBEATSModel
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def series(length: int = 400) -> TimeSeries:
    """Return a series with two seasons and noise."""
    day = np.arange(length)
    value = np.sin(2 * np.pi * day / 7) + 0.5 * np.sin(2 * np.pi * day / 30) + 0.2 * np.random.normal(size=length)
    return TimeSeries.from_values(value.astype(np.float32))


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    model = NBEATSModel(
        input_chunk_length=28, output_chunk_length=7, generic_architecture=True, num_stacks=4, num_blocks=1,
        num_layers=2, layer_widths=64, batch_size=32, n_epochs=1000, random_state=0, optimizer_kwargs={"lr": rate},
        pl_trainer_kwargs={"callbacks": callbacks, "accelerator": "cpu", "max_steps": steps, "logger": False},
    )  # fmt: skip
    model.fit(series(), verbose=False)
    return model.model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
