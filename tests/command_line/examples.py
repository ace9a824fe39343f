"""Logs of made-up runs, the same at every call, for the tests and for the page of the documentation."""

import json
import math
import random
from pathlib import Path

from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from lightning_landscape.evidence import Cause, Evidence, Finding, LossLevel, Verdict
from lightning_landscape.reporting.events import event_line
from tests.clocks import DAY, ManualClock

STEPS = 2000


def losses(kind, steps=STEPS, seed=0):
    """Return a loss of this kind: "falling", "flat", "escaping", "settled" or "diverging"."""
    noise = random.Random(seed)
    shapes = {
        "falling": lambda x: 0.3 + 2 * (1 - x) ** 2,
        "flat": lambda x: 2.3,
        "escaping": lambda x: 2.3 - 2 / (1 + math.exp(-60 * (x - 0.6))),
        "settled": lambda x: 0.5 + 1.8 * math.exp(-40 * x),
        "diverging": lambda x: math.nan if x > 0.7 else 2.3,
    }
    return [shapes[kind](i / steps) + 0.02 * noise.gauss(0, 1) for i in range(steps)]


def write_csv(path, values, every=1, tag="train_loss"):
    """Write a loss as Lightning's `CSVLogger` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{i // 500},{i * every},{value!r}" for i, value in enumerate(values)]
    path.write_text("\n".join([f"epoch,step,{tag}", *rows]) + "\n", encoding="utf-8")
    return path


def write_events(path, values, tag="train_loss", every=1):
    """Write a loss as an event file of TensorBoard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        began = DAY.timestamp() - 720 - len(values)
        writer.write(event_pb2.Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        for i, value in enumerate(values):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(event_pb2.Event(wall_time=began + i, step=i * every, summary=summary).SerializeToString())
    return path


def write_watched(folder, *, escaped=False, ended=True):
    """Write the ``events.jsonl`` of a run that a monitor has watched, as beside the files of a `CSVLogger`."""
    finding = Finding(
        "squashed-twice",
        Cause.FLAT_REGION,
        "Softmax is applied before cross-entropy, which applies it again: the loss cannot fall below 1.46.",
        "remove `self.softmax` and give the logits to the loss.",
        "certain",
    )
    verdict = Verdict(
        cause=Cause.FLAT_REGION,
        step=400,
        since=0,
        stuck=True,
        reason=f"{finding.sentence}\nThe training loss has not fallen at all in 400 steps.",
        advice="remove `self.softmax` and give the logits to the loss.\na larger learning rate.",
        tried="on a copy, without the softmax, the loss fell by 70%.",
        finding=finding,
        evidence=Evidence(LossLevel(2.3, 2.29, 2.3)),
    )
    clock = ManualClock()
    lines = [event_line("start", 0, {"version": "0.2", "horizon": STEPS, "groups": []}, clock)]
    lines += [event_line("verdict", 400, verdict.to_dict(), clock)]
    lines += [event_line("escaped", 900, {"cause": "flat_region", "since": 0}, clock)] if escaped else []
    if ended:
        report = {"status": "ended", "steps": STEPS, "loss": {"start": 2.3, "best": 2.29, "now": 2.3}, "notes": []}
        lines += [event_line("end", STEPS, report, clock)]
    path = Path(folder) / "landscape" / "events.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return Path(folder)


def write_examples(folder):
    """Write the directory of logs that docs/command_line.md shows."""
    folder = Path(folder)
    write_watched(folder / "softmax_twice")
    write_csv(folder / "falling" / "metrics.csv", losses("falling"))
    write_csv(folder / "escaping" / "metrics.csv", losses("escaping"))
    write_events(folder / "flat" / "events.out.tfevents.1.example", losses("flat"))
    lines = [json.dumps({"step": i, "train": {"loss": value}}) for i, value in enumerate(losses("settled"))]
    (folder / "settled.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
