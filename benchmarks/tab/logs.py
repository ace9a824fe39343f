"""A log directory with many long runs, as monitors write it, without training a network.

Each run has the scalars of a Lightning run at every `LOG_EVERY` steps, the records of a monitor as often as it sends
them, and a picture with each of the first records. The losses are made up; the records are those of the library.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from lightning_landscape.evidence import CAUSES, Cause, Evidence, Finding, Line, LossLevel, ReadingsLog, Verdict
from lightning_landscape.reporting.loggers import record
from lightning_landscape.reporting.reporter import GROWTH, SENT_AT_ONCE
from lightning_landscape.reporting.run_document import RunDocument, heat_map

LOG_EVERY = 50
"""steps between two logged values, as in Lightning"""
SCALARS = ("grad_norm", "loss_trend", "noise_scale", "plateau_length", "update_ratio", "verdict")
PICTURE_BYTES = 20_000
"""size of a picture of a monitor, about"""
SECONDS_A_STEP = 0.02
GROUPS = [f"blocks.{i}.{part}" for i in range(6) for part in ("attention", "mlp")]

Loss = Callable[[float, random.Random], float]
"""the loss at a share of the run in [0, 1]"""


def falling(lowest: float) -> Loss:
    """Return a loss that falls from 2.3 to about this value."""
    return lambda share, noise: lowest + (2.3 - lowest) * math.exp(-6 * share) + 0.03 * noise.gauss(0, 1)


def flat(share: float, noise: random.Random) -> float:
    """Return a loss that never falls."""
    return 2.302 + 0.01 * noise.gauss(0, 1)


def with_a_spike(share: float, noise: random.Random) -> float:
    """Return a falling loss with one high peak."""
    return falling(0.4)(share, noise) + (300 if 0.5 < share < 0.502 else 0)


def growing(share: float, noise: random.Random) -> float:
    """Return a loss that falls first and grows without bound later."""
    return falling(0.9)(share, noise) * (1 + math.expm1(max(0.0, 9 * (share - 0.7))))


SQUASHED_TWICE = Finding(
    "squashed-twice",
    Cause.FLAT_REGION,
    "Softmax is applied before cross-entropy, which applies it again: the loss cannot fall below 1.46.",
    "remove `self.softmax` and give the logits to the loss.",
    "certain",
)


def crawling(share: float, noise: random.Random) -> float:
    """Return a loss that falls by 4% in the whole run."""
    return 2.25 - 0.1 * share + 0.02 * noise.gauss(0, 1)


KINDS: list[tuple[str, Loss, Cause | None, Finding | None]] = [
    ("wide", falling(0.31), None, None),
    ("sigmoid", flat, Cause.FLAT_REGION, None),
    ("softmax-twice", lambda share, noise: 0.85 * flat(share, noise), Cause.FLAT_REGION, SQUASHED_TWICE),
    ("base", falling(0.52), None, None),
    ("spiky", with_a_spike, None, None),
    ("small-lr", crawling, Cause.LEARNING_RATE_TOO_SMALL, None),
    ("narrow", falling(0.74), Cause.SETTLED, None),
    ("large-lr", growing, Cause.DIVERGED, None),
    ("short", falling(0.61), Cause.UNDECIDED, None),
    ("dropout", falling(0.46), None, None),
]
"""name, loss, cause of the verdict and finding of each kind of run"""


def write_logs(folder: Path, runs: int, steps: int, picture_bytes: int = PICTURE_BYTES) -> list[str]:
    """Write this many runs of this many steps, and return their names; the last one was killed at 63%."""
    names = []
    for i in range(runs):
        kind, loss, cause, finding = KINDS[i % len(KINDS)]
        name = f"{kind}/seed_{i // len(KINDS)}" if runs > len(KINDS) else kind
        made = int(0.63 * steps) if i == runs - 1 and runs > 1 else steps
        last_record = time.time() - (8 * 60 if made < steps else 3600 * (1 + i))
        write_run(
            folder / name,
            loss,
            cause,
            finding,
            made=made,
            planned=steps,
            seed=i,
            end=last_record,
            picture_bytes=picture_bytes,
        )
        names.append(name)
    return names


class EventFile:
    """The event file of a run whose records are as old as they are said to be."""

    def __init__(self, folder: Path, began: float) -> None:
        folder.mkdir(parents=True)
        self._file = (folder / f"events.out.tfevents.{int(time.time())}.made-up").open("wb")
        self._writer = RecordWriter(self._file)
        self._writer.write(event_pb2.Event(wall_time=began, file_version="brain.Event:2").SerializeToString())

    def add(self, summary: Summary, step: int, at: float) -> None:
        """Write one event of this step at this time in seconds."""
        self._writer.write(event_pb2.Event(wall_time=at, step=step, summary=summary).SerializeToString())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_run(
    folder: Path,
    loss: Loss,
    cause: Cause | None,
    finding: Finding | None = None,
    *,
    made: int,
    planned: int,
    seed: int = 0,
    end: float | None = None,
    picture_bytes: int = PICTURE_BYTES,
) -> None:
    """Write the event file of one run.

    Args:
        folder: directory of the run.
        loss: the loss by the share of the planned steps.
        cause: the verdict that is reached at a third of the run; None for none.
        finding: what was found in the code, the data or the settings; None for nothing.
        made: steps that the run has made; with fewer than planned, it was killed.
        planned: steps of the whole run.
        seed: seed of the noise.
        end: time of the last record in seconds; None for now.
        picture_bytes: size of the picture with each record; 0 for none.
    """
    noise, document, readings = random.Random(seed), RunDocument(), ReadingsLog()
    end = time.time() if end is None else end
    file, sent, columns = EventFile(folder, end - SECONDS_A_STEP * made), [], []
    verdicts: list[Verdict] = []
    first = lowest = loss(0.0, noise)
    due = _record_steps(made)
    for step in range(made):
        value, at = loss(step / planned, noise), end - SECONDS_A_STEP * (made - 1 - step)
        lowest = min(lowest, value)
        document.update(step, value, 0.1 + 0.01 * noise.random() if step % 10 == 0 else None)
        if step == planned // 100:
            document.mark(step, "learning")
        if cause is not None and step == planned // 3:
            verdicts.append(_verdict(cause, finding, step, readings))
            document.mark(step, cause.value)
        if step % LOG_EVERY == 0 or step == made - 1:
            tags = {"train_loss": value, "epoch": step // 400} | {f"landscape/{n}": noise.random() for n in SCALARS}
            file.add(Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in tags.items()]), step, at)
        if step in due:
            sent.append(step)
            columns.append([0.1 * 0.8 ** (len(GROUPS) - k) * (1 + noise.random()) for k in range(len(GROUPS))])
            readings.add(step, [_line(anchor, first, value, noise) for anchor in ("initial", "previous")])
            known = {
                "steps": step + 1,
                "horizon": planned,
                "status": "ended" if step == planned - 1 else "running",
                "loss": {"start": first, "best": lowest, "now": value},
                "notes": [],
            }
            parts = document.document(verdicts, readings, **known)
            parts["gradients"] = heat_map(sent, GROUPS, columns)
            for part, content in parts.items():
                file.add(record(part, json.dumps(content)), step, at)
                if picture_bytes:
                    image = Summary.Image(height=320, width=500, encoded_image_string=noise.randbytes(picture_bytes))
                    file.add(Summary(value=[Summary.Value(tag=f"landscape/{part}", image=image)]), step, at)
    file.close()


def _record_steps(made: int) -> set[int]:
    """Return the steps at which a monitor sends its records: twenty at once, then after each growth by 10%."""
    steps = [made // 400 * k for k in range(1, SENT_AT_ONCE + 1)]
    while steps[-1] < made:
        steps.append(math.ceil(steps[-1] * GROWTH) + 1)
    return {min(step, made - 1) for step in steps}


def _line(anchor: str, start: float, now: float, noise: random.Random) -> Line:
    alphas = tuple(k / 10 for k in range(12))
    losses = tuple(start + (now - start) * min(1.0, alpha) ** 0.5 + 0.002 * noise.random() for alpha in alphas)
    return Line(anchor, alphas, losses, barrier=0.0, monotone=True, samples=256)


def _verdict(cause: Cause, finding: Finding | None, step: int, readings: ReadingsLog) -> Verdict:
    facts = CAUSES[cause]
    line = readings.latest(Line)
    return Verdict(
        cause=cause,
        step=step,
        since=step // 2,
        stuck=facts.alarms,
        reason=f"The loss fell by less than 1% in {step // 2:,} steps; the test would have noticed 1.3%."
        if finding is None
        else finding.sentence,
        advice=facts.advice if finding is None else finding.advice,
        finding=finding,
        evidence=Evidence(*([] if line is None else [line]), LossLevel(2.3, 2.3, 2.3)),
    )
