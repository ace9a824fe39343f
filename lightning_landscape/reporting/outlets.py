"""The loggers of a trainer, each served with what it can take and none able to stop the others or the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from lightning_landscape.reporting.words import announce

log = logging.getLogger("lightning_landscape")

STRIKES = 3
"""failures after which a logger gets nothing more from us"""
LONGEST_NAME = 100
"""characters of a tag that go into a file's name"""


class Outlets:
    """Scalars, pictures, cards and warnings: what a run says, to its loggers and to the terminal.

    TensorBoard, W&B, MLflow and Comet get pictures and text through their own interfaces; for every other logger with a
    directory they become files in `<log_dir>/landscape`.

    Args:
        loggers: those of the trainer; None on a rank that is to be silent, where warnings are not raised either.
    """

    def __init__(self, loggers: Iterable[Any] | None) -> None:
        self._silent = loggers is None
        self._loggers = list(loggers or ())
        self.failures = [0] * len(self._loggers)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One row of numbers at the loggers' own x."""
        self._each(lambda logger: logger.log_metrics(dict(values), step=step))

    def picture(self, tag: str, pixels: np.ndarray[Any, Any], step: int) -> None:
        """One picture, an array of shape (height, width, 3) in uint8."""
        self._each(lambda logger: _show(logger, tag, pixels, step))

    def card(self, tag: str, markdown: str, step: int) -> None:
        """One piece of Markdown."""
        self._each(lambda logger: _write(logger, tag, markdown, step))

    def warn(self, text: str, kind: type[Warning]) -> None:
        """One warning in the terminal, not torn by a progress bar."""
        if not self._silent:
            announce(text, kind)

    def notes(self) -> list[str]:
        """Which loggers failed, and how often."""
        counts = zip(self._loggers, self.failures, strict=True)
        return [f"{type(logger).__name__} refused what it was sent {n} times" for logger, n in counts if n]

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def _each(self, send: Callable[[Any], None]) -> None:
        for i, logger in enumerate(self._loggers):
            if self.failures[i] >= STRIKES:
                continue
            try:
                send(logger)
            except Exception as error:
                self.failures[i] += 1
                end = "; it gets nothing more from lightning_landscape" if self.failures[i] == STRIKES else ""
                log.warning("%s: %s: %s%s", type(logger).__name__, type(error).__name__, error, end)


def _show(logger: Any, tag: str, pixels: np.ndarray[Any, Any], step: int) -> None:
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_image"):  # TensorBoard, tensorboardX
        experiment.add_image(tag, pixels, global_step=step, dataformats="HWC")
    elif callable(getattr(logger, "log_image", None)):  # W&B
        logger.log_image(key=tag, images=[pixels], step=step)
    elif hasattr(experiment, "log_image") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_image(logger.run_id, pixels, key=_plain(tag), step=step)
    elif hasattr(experiment, "log_image"):  # Comet
        experiment.log_image(pixels, name=tag, step=step)
    elif (path := _file(logger, tag, step, "png")) is not None:
        from PIL import Image

        _replace(path, lambda draft: Image.fromarray(pixels).save(draft, format="PNG"))


def _write(logger: Any, tag: str, markdown: str, step: int) -> None:
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_text"):  # TensorBoard, tensorboardX
        experiment.add_text(tag, markdown, global_step=step)
    elif callable(getattr(logger, "log_text", None)):  # W&B
        logger.log_text(key=tag, columns=["verdict"], data=[[markdown]], step=step)
    elif hasattr(experiment, "log_text") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_text(logger.run_id, markdown, f"landscape/{_plain(tag)}-{step:08d}.md")
    elif hasattr(experiment, "log_text"):  # Comet
        experiment.log_text(markdown, step=step)
    elif (path := _file(logger, tag, step, "md")) is not None:
        _replace(path, lambda draft: draft.write_text(markdown + "\n", encoding="utf-8"))


def _file(logger: Any, tag: str, step: int, ending: str) -> Path | None:
    """Where a logger without pictures keeps its files; None where it has no directory on this machine."""
    folder = getattr(logger, "log_dir", None) or getattr(logger, "save_dir", None)
    if not folder or "://" in str(folder):
        return None
    return Path(folder) / "landscape" / f"{_plain(tag)}-{step:08d}.{ending}"


def _plain(tag: str) -> str:
    """The tag as a file name on any system; one that is too long keeps its end and a checksum of the whole."""
    bare = tag.removeprefix("landscape/")
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in bare) or "unnamed"
    return name if len(name) <= LONGEST_NAME else f"{crc32(bare.encode(errors='replace')):08x}_{name[-LONGEST_NAME:]}"


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the file and move it into place, so that a reader never finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    try:
        write(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
