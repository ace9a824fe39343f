"""Attributes of loggers that neither Lightning nor torch documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary


class EventWriter(Protocol):
    """The object inside torch's `SummaryWriter` that writes TensorBoard's event file."""

    def add_summary(self, summary: Summary, global_step: int) -> None:
        """Write one event."""


def event_writer(logger: object) -> EventWriter | None:
    """Return the writer of the logger's event file; None if the logger does not use torch's `SummaryWriter`."""
    experiment: object = getattr(logger, "experiment", None)
    if not type(experiment).__module__.startswith("torch.utils.tensorboard"):
        return None
    writer: EventWriter = experiment._get_file_writer()  # type: ignore[attr-defined]
    return writer


def logs_metrics_as_lightning(logger: object) -> bool:
    """Return whether `log_metrics` is that of Lightning's `TensorBoardLogger` and adds no prefix to the names."""
    method: object = getattr(logger, "log_metrics", None)
    return getattr(method, "__module__", "").endswith("loggers.tensorboard") and not getattr(logger, "_prefix", "")
