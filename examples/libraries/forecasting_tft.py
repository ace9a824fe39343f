"""pytorch-forecasting: its models are LightningModules, so the monitor goes to `callbacks=` of your `Trainer`.

``pip install pytorch-forecasting``
"""

import lightning as L
import numpy as np
import pandas as pd
from pytorch_forecasting import QuantileLoss, TemporalFusionTransformer, TimeSeriesDataSet
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def sales(shops: int = 20, days: int = 120) -> pd.DataFrame:
    """Return a table of sales with a weekly season, a level of each shop, and noise."""
    shop, day = (index.ravel() for index in np.meshgrid(np.arange(shops), np.arange(days), indexing="ij"))
    value = 10 + shop + (2 + shop % 3) * np.sin(2 * np.pi * day / 7) + np.random.normal(size=day.size)
    return pd.DataFrame({"shop": shop.astype(str), "day": day, "weekday": (day % 7).astype(str), "value": value})


def train(callbacks, rate: float = 0.03, steps: int = 300) -> nn.Module:
    data = TimeSeriesDataSet(
        sales(), time_idx="day", target="value", group_ids=["shop"], max_encoder_length=14, max_prediction_length=7,
        static_categoricals=["shop"], time_varying_known_categoricals=["weekday"],
        time_varying_unknown_reals=["value"],
    )  # fmt: skip
    model = TemporalFusionTransformer.from_dataset(
        data, learning_rate=rate, hidden_size=8, attention_head_size=1, hidden_continuous_size=8, loss=QuantileLoss()
    )
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False,
        gradient_clip_val=0.1,
    )  # fmt: skip
    trainer.fit(model, data.to_dataloader(train=True, batch_size=32))
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
