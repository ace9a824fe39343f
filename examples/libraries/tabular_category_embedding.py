"""pytorch-tabular: `fit` makes the `Trainer` from a `TrainerConfig`; the monitor goes to `callbacks=` of `fit`.

``pip install pytorch-tabular``
"""

import numpy as np
import pandas as pd
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import CategoryEmbeddingModelConfig
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def customers(count: int = 1280) -> pd.DataFrame:
    """Return a table in which age, income and city tell whether a customer buys."""
    age, income = np.random.normal(size=(2, count))
    city = np.random.choice(["A", "B", "C"], size=count)
    score = age * income + 1.5 * (city == "B") + 0.5 * np.random.normal(size=count)
    return pd.DataFrame({"age": age, "income": income, "city": city, "buys": (score > 0.3).astype(int)})


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    model = TabularModel(
        data_config=DataConfig(target=["buys"], continuous_cols=["age", "income"], categorical_cols=["city"]),
        model_config=CategoryEmbeddingModelConfig(task="classification", learning_rate=rate),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=64, max_epochs=steps // 16, accelerator="cpu", early_stopping=None, checkpoints=None,
            load_best=False, progress_bar="none",
        ),
        verbose=False,
    )  # fmt: skip
    model.fit(train=customers(), callbacks=callbacks)
    return model.model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
