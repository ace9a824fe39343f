"""Attributes of loggers and of Rich that their documentation does not describe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

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


def rich_console(stream: object) -> Any:
    """Return the console of the Rich display, such as a progress bar, that has replaced this stream; None without."""
    proxy = getattr(sys.modules.get("rich.file_proxy"), "FileProxy", None)
    if proxy is None or not isinstance(stream, proxy):
        return None
    return getattr(stream, "_FileProxy__console", None)
