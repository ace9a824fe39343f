"""Everything that is read of loggers without being promised by Lightning or torch."""

from __future__ import annotations

from typing import Any


def event_writer(logger: Any) -> Any:
    """What writes the logger's event file, where torch's `SummaryWriter` does; else None."""
    experiment: Any = getattr(logger, "experiment", None)
    stock = type(experiment).__module__.startswith("torch.utils.tensorboard")
    return experiment._get_file_writer() if stock else None


def only_writes_events(logger: Any) -> bool:
    """Whether `log_metrics` is that of Lightning's `TensorBoardLogger`, and puts nothing before the names."""
    stock = getattr(logger.log_metrics, "__module__", "").endswith("loggers.tensorboard")
    return stock and not getattr(logger, "_prefix", "")
