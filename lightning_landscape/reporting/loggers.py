"""How each kind of logger takes a picture, a text and a file; told apart by what they can do, never by type.

`lightning.pytorch` and `pytorch_lightning` are two disjoint trees of classes, and anybody may write a third.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path, PurePath
from typing import Any
from zlib import crc32

import numpy as np

from lightning_landscape.reporting._compat import event_writer, only_writes_events

PLUGIN = "lightning_landscape"
"""by this name the Landscape tab finds its records in an event file"""
LONGEST_NAME = 100
"""characters of a tag that go into a file's name"""


def numbers(logger: Any, values: Mapping[str, float], step: int) -> None:
    """A row of numbers: to TensorBoard as one event, where Lightning's own logger writes one for each number.

    Each event wakes the writer's thread, which then competes with training for the interpreter.
    """
    writer = event_writer(logger) if only_writes_events(logger) else None
    if writer is None:
        logger.log_metrics(dict(values), step=step)
        return
    from tensorboard.compat.proto.summary_pb2 import Summary

    row = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    writer.add_summary(Summary(value=row), step)


def show(logger: Any, tag: str, pixels: np.ndarray[Any, Any], step: int) -> None:
    """A picture, where the logger takes pictures; else a PNG file in its directory."""
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_image"):  # TensorBoard, tensorboardX
        experiment.add_image(tag, pixels, global_step=step, dataformats="HWC")
    elif callable(getattr(logger, "log_image", None)):  # W&B
        logger.log_image(key=tag, images=[pixels], step=step)
    elif hasattr(experiment, "log_image") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_image(logger.run_id, pixels, key=file_name(tag), step=step)
    elif hasattr(experiment, "log_image"):  # Comet
        experiment.log_image(pixels, name=tag, step=step)
    elif (folder := own_folder(logger)) is not None:
        from PIL import Image

        path = folder / f"{file_name(tag)}-{step:08d}.png"
        replace(path, lambda draft: Image.fromarray(pixels).save(draft, format="PNG"))
        upload(logger, path)


def write(logger: Any, tag: str, markdown: str, step: int) -> None:
    """A piece of Markdown, where the logger takes text; else a file in its directory."""
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_text"):  # TensorBoard, tensorboardX
        experiment.add_text(tag, markdown, global_step=step)
    elif callable(getattr(logger, "log_text", None)):  # W&B
        logger.log_text(key=tag, columns=["verdict"], data=[[markdown]], step=step)
    elif hasattr(experiment, "log_text") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_text(logger.run_id, markdown, f"landscape/{file_name(tag)}-{step:08d}.md")
    elif hasattr(experiment, "log_text"):  # Comet
        experiment.log_text(markdown, step=step)
    elif (folder := own_folder(logger)) is not None:
        path = folder / f"{file_name(tag)}-{step:08d}.md"
        replace(path, lambda draft: draft.write_text(markdown + "\n", encoding="utf-8"))
        upload(logger, path)


def record(logger: Any, part: str, text: str, step: int) -> None:
    """A part of the run's document for the Landscape tab, where the logger writes TensorBoard's event files.

    It goes through the logger's own writer: of two writers in one directory, TensorBoard may never read the older one.
    """
    if (writer := event_writer(logger)) is None:
        return
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=tensor_shape_pb2.TensorShapeProto(), string_val=[text.encode()]
    )
    value = summary_pb2.Summary.Value(tag=f"{PLUGIN}/{part}", tensor=tensor, metadata=metadata)
    writer.add_summary(summary_pb2.Summary(value=[value]), step)


def upload(logger: Any, path: Path) -> None:
    """A file that was written here, for a logger that keeps files elsewhere."""
    experiment: Any = getattr(logger, "experiment", None)
    if callable(getattr(logger, "log_file", None)):  # Lit
        logger.log_file(str(path))
    elif callable(getattr(experiment, "log_artifact", None)) and hasattr(logger, "run_id"):  # MLflow
        experiment.log_artifact(logger.run_id, str(path), "landscape")
    elif callable(getattr(experiment, "log_asset", None)):  # Comet
        experiment.log_asset(str(path))
    elif isinstance(getattr(experiment, "dir", None), str) and callable(getattr(experiment, "save", None)):  # W&B
        experiment.save(str(path), base_path=str(path.parent.parent), policy="now")


def own_folder(logger: Any) -> Path | None:
    """Return where files of ours go beside the logger's own; None where the logger writes no files on this machine.

    That is ``log_dir``, or like Lightning's own checkpoints ``save_dir/name/version``. A name is not enough: a logger
    that keeps everything in memory may have a ``save_dir`` too. The directory has to be there, with more in it than
    checkpoints, unless the logger takes files from here and keeps them elsewhere (see `upload`).
    """
    places = _places(logger)
    used = next(filter(_is_used, places), None)
    if used is None and places and _takes_files(logger):
        used = places[0]
    return None if used is None else used / "landscape"


def _places(logger: Any) -> list[Path]:
    """Return the directories that the logger may mean by its names; Lightning writes the version 3 as `version_3`."""
    log_dir, save_dir = (_local(getattr(logger, name, None)) for name in ("log_dir", "save_dir"))
    if log_dir is not None:
        return [log_dir]
    name, version = (getattr(logger, part, None) for part in ("name", "version"))
    if save_dir is None or not (name or version or save_dir.absolute() != Path.cwd()):
        return []  # the current directory holds many things, and is no sign of a run
    folder = save_dir / str(name) if name else save_dir
    if isinstance(version, int):
        return [folder / str(version), folder / f"version_{version}"]
    return [folder / str(version) if version else folder]


def _is_used(folder: Path) -> bool:
    """Whether something is there that Lightning's `ModelCheckpoint` has not made."""
    if not folder.is_dir():
        return folder.exists()
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, 2)] != ["checkpoints"]


def _takes_files(logger: Any) -> bool:
    """Whether `upload` sends files on; the types are asked, since a mock answers to any name."""
    experiment: Any = getattr(logger, "experiment", None)
    verbs = {name for name in ("log_artifact", "log_asset", "save") if callable(getattr(type(experiment), name, None))}
    return (
        callable(getattr(type(logger), "log_file", None))  # Lit
        or ("log_artifact" in verbs and isinstance(getattr(logger, "run_id", None), str))  # MLflow
        or "log_asset" in verbs  # Comet
        or ("save" in verbs and isinstance(getattr(experiment, "dir", None), str))  # W&B
    )


def file_name(tag: str) -> str:
    """The tag as a file name on any system; one that is too long keeps its end and a checksum of the whole."""
    bare = tag.removeprefix("landscape/")
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in bare) or "unnamed"
    return name if len(name) <= LONGEST_NAME else f"{crc32(bare.encode(errors='replace')):08x}_{name[-LONGEST_NAME:]}"


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the file and move it into place, so that a reader never finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    try:
        write(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _local(folder: Any) -> Path | None:
    """Return the folder as a path, where it is one on this machine; a dummy or a mock answers to any name."""
    usable = isinstance(folder, (str, PurePath)) and bool(str(folder)) and "://" not in str(folder)
    return Path(folder) if usable else None
