"""Send numbers, pictures, texts and files to any logger.

The methods of a logger and of its `experiment` show what it accepts. Their types do not: `lightning.pytorch` and
`pytorch_lightning` have separate classes, and users write loggers of their own. A logger without a method for pictures
or texts gets them as files in its directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lightning_landscape._files import write_atomically
from lightning_landscape.reporting._compat import event_writer, logs_metrics_as_lightning

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

PLUGIN = "lightning_landscape"
"""the name under which the Landscape tab finds its records in an event file"""
LONGEST_NAME = 100
"""characters of a tag that are used in a file name"""

Pixels = NDArray[np.uint8]
"""a picture of shape (height, width, 3)"""


class Logger(Protocol):
    """The method that every logger has."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log these numbers at this step."""


def send_numbers(logger: Logger, values: Mapping[str, float], step: int) -> None:
    """Log the numbers at this step; with Lightning's `TensorBoardLogger` as a single event.

    That logger would write one event per number, and each event wakes a thread that competes with the training loop.
    """
    writer = event_writer(logger) if logs_metrics_as_lightning(logger) else None
    if writer is None:
        logger.log_metrics(dict(values), step=step)
        return
    from tensorboard.compat.proto.summary_pb2 import Summary

    writer.add_summary(
        Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]), step
    )


def send_picture(logger: Logger, tag: str, pixels: Pixels, step: int) -> None:
    """Log a picture; a logger without a method for pictures gets a PNG file in its directory."""
    experiment: object = getattr(logger, "experiment", None)
    log_image = getattr(logger, "log_image", None)
    if hasattr(experiment, "add_image"):  # TensorBoard, tensorboardX
        experiment.add_image(tag, pixels, global_step=step, dataformats="HWC")
    elif callable(log_image):  # W&B
        log_image(key=tag, images=[pixels], step=step)
    elif hasattr(experiment, "log_image") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_image(logger.run_id, pixels, key=file_name(tag), step=step)
    elif hasattr(experiment, "log_image"):  # Comet
        experiment.log_image(pixels, name=tag, step=step)
    elif (folder := landscape_folder(logger)) is not None:
        from PIL import Image

        path = folder / f"{file_name(tag)}-{step:08d}.png"
        write_atomically(path, lambda draft: Image.fromarray(pixels).save(draft, format="PNG"))
        send_file(logger, path)


def send_text(logger: Logger, tag: str, markdown: str, step: int) -> None:
    """Log a text in Markdown; a logger without a method for texts gets a file in its directory."""
    experiment: object = getattr(logger, "experiment", None)
    log_text = getattr(logger, "log_text", None)
    if hasattr(experiment, "add_text"):  # TensorBoard, tensorboardX
        experiment.add_text(tag, markdown, global_step=step)
    elif callable(log_text):  # W&B
        log_text(key=tag, columns=["verdict"], data=[[markdown]], step=step)
    elif hasattr(experiment, "log_text") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_text(logger.run_id, markdown, f"landscape/{file_name(tag)}-{step:08d}.md")
    elif hasattr(experiment, "log_text"):  # Comet
        experiment.log_text(markdown, step=step)
    elif (folder := landscape_folder(logger)) is not None:
        path = folder / f"{file_name(tag)}-{step:08d}.md"
        write_atomically(path, lambda draft: draft.write_text(markdown + "\n", encoding="utf-8"))
        send_file(logger, path)


def send_record(logger: Logger, part: str, text: str, step: int) -> None:
    """Write a part of the run's document for the Landscape tab, if the logger writes a TensorBoard event file.

    The record goes through the logger's own writer: if two writers write to one directory, TensorBoard may never read
    the older file.
    """
    if (writer := event_writer(logger)) is not None:
        writer.add_summary(record(part, text), step)


def record(part: str, text: str) -> Summary:
    """Return a part of the run's document as the summary that the Landscape tab reads."""
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=tensor_shape_pb2.TensorShapeProto(), string_val=[text.encode()]
    )
    value = summary_pb2.Summary.Value(tag=f"{PLUGIN}/{part}", tensor=tensor, metadata=metadata)
    return summary_pb2.Summary(value=[value])


def send_file(logger: Logger, path: Path) -> None:
    """Upload a file of this machine, if the logger stores files elsewhere."""
    experiment: object = getattr(logger, "experiment", None)
    log_file = getattr(logger, "log_file", None)
    log_artifact = getattr(experiment, "log_artifact", None)
    log_asset = getattr(experiment, "log_asset", None)
    save = getattr(experiment, "save", None)
    if callable(log_file):  # Lit
        log_file(str(path))
    elif callable(log_artifact) and hasattr(logger, "run_id"):  # MLflow
        log_artifact(logger.run_id, str(path), "landscape")
    elif callable(log_asset):  # Comet
        log_asset(str(path))
    elif callable(save) and isinstance(getattr(experiment, "dir", None), str):  # W&B
        save(str(path), base_path=str(path.parent.parent), policy="now")


def landscape_folder(logger: Logger) -> Path | None:
    """Return the directory for files of this library; None if the logger writes no files on this machine.

    It is ``log_dir/landscape``, or, as for Lightning's checkpoints, ``save_dir/name/version/landscape``. A `save_dir`
    alone does not show that the logger writes files, since one that keeps everything in memory may have it too.
    Therefore its directory has to exist and to hold more than checkpoints, unless `send_file` uploads files with it.
    """
    candidates = _candidate_folders(logger)
    used = next(filter(_holds_more_than_checkpoints, candidates), None)
    if used is None and candidates and _uploads_files(logger):
        used = candidates[0]
    return None if used is None else used / "landscape"


def _candidate_folders(logger: Logger) -> list[Path]:
    """Return the directories that the logger may write to; Lightning writes version 3 as `version_3`."""
    log_dir, save_dir = (_local_path(getattr(logger, name, None)) for name in ("log_dir", "save_dir"))
    if log_dir is not None:
        return [log_dir]
    name, version = (getattr(logger, attribute, None) for attribute in ("name", "version"))
    # The current directory always exists, so without a name or a version it does not show that a run writes there.
    if save_dir is None or not (name or version or save_dir.absolute() != Path.cwd()):
        return []
    folder = save_dir / str(name) if name else save_dir
    if isinstance(version, int):
        return [folder / str(version), folder / f"version_{version}"]
    return [folder / str(version) if version else folder]


def _holds_more_than_checkpoints(folder: Path) -> bool:
    """Return whether the directory exists and holds something else than Lightning's directory of checkpoints."""
    if not folder.is_dir():
        return folder.exists()
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, 2)] != ["checkpoints"]


def _uploads_files(logger: Logger) -> bool:
    """Return whether `send_file` uploads files; this looks at classes, since a mock object has every attribute."""
    experiment: object = getattr(logger, "experiment", None)
    methods = {
        name for name in ("log_artifact", "log_asset", "save") if callable(getattr(type(experiment), name, None))
    }
    return (
        callable(getattr(type(logger), "log_file", None))  # Lit
        or ("log_artifact" in methods and isinstance(getattr(logger, "run_id", None), str))  # MLflow
        or "log_asset" in methods  # Comet
        or ("save" in methods and isinstance(getattr(experiment, "dir", None), str))  # W&B
    )


def file_name(tag: str) -> str:
    """Return the tag as a file name for any system; a long one keeps its end, after a checksum of the whole tag."""
    bare = tag.removeprefix("landscape/")
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in bare) or "unnamed"
    return name if len(name) <= LONGEST_NAME else f"{crc32(bare.encode(errors='replace')):08x}_{name[-LONGEST_NAME:]}"


def _local_path(folder: object) -> Path | None:
    """Return the folder as a path; None if it is not a path on this machine, as with URLs, dummies and mock objects."""
    if not isinstance(folder, (str, PurePath)) or not str(folder) or "://" in str(folder):
        return None
    return Path(folder)
