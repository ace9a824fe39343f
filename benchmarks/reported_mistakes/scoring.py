"""Train the programs with `LandscapeMonitor()` and compare what it says with what is wrong."""

from __future__ import annotations

import contextlib
import io
from dataclasses import asdict, dataclass

from benchmarks.reported_mistakes.training import fit
from lightning_landscape import LandscapeMonitor, LandscapeWarning


@dataclass(frozen=True)
class Score:
    """What was said about one run, and whether it is right."""

    name: str
    seed: int
    kind: str
    said: str
    """the cause of the first alarm; a last verdict without an alarm is written with a minus sign before it"""
    found: bool
    """whether any verdict says that the run is stuck, or a warning was given in the first steps"""
    alarmed: bool
    cause_right: bool
    words: tuple[str, ...]
    """the words that were said and lead a reader to the fix"""
    alarm_step: int | None
    warnings: int
    """how many warnings were given in the first five steps"""
    verdicts: tuple[tuple[int, str, bool, str, str], ...]
    """the step, the cause, whether the run is stuck, the reason and the advice of each verdict"""
    warned: tuple[str, ...]
    """the texts of all warnings"""
    seconds: float
    error: str | None


def score(program, seed, monitor=None):
    """Train one program with the monitor and return what was said."""
    monitor = monitor or LandscapeMonitor()
    module, batches, settings = program.build(seed)
    # What the monitor prints would stand between the rows of the table.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = fit(module, batches, settings, [monitor])
    verdicts = tuple((v.step, v.cause.value, bool(v.stuck), v.reason, v.advice) for v in monitor.verdicts)
    first = [w for w in run.first_warnings if issubclass(w.category, LandscapeWarning)]
    warned = tuple(str(w.message) for w in run.all_warnings if issubclass(w.category, LandscapeWarning))
    alarms = [v for v in verdicts if v[2]]
    text = " ".join([*(f"{v[3]} {v[4]}" for v in verdicts), *warned]).lower()
    last = f"-{verdicts[-1][1]}" if verdicts else "-"
    return Score(
        name=program.name,
        seed=seed,
        kind=program.kind,
        said=alarms[0][1] if alarms else last,
        found=bool(alarms or first),
        alarmed=bool(alarms),
        cause_right=bool(alarms) and alarms[0][1] in program.causes,
        words=tuple(w for w in program.words if w in text),
        alarm_step=alarms[0][0] if alarms else None,
        warnings=len(first),
        verdicts=verdicts,
        warned=warned,
        seconds=run.seconds,
        error=run.error,
    )


HEADER = f"{'name':34s} seed {'kind':8s} {'said':24s} {'cause':6s} {'alarm':>6s} {'warned':>6s} words"


def row(s):
    """Return the line of the table for one score."""
    failing = s.kind == "failing"
    cause = ("right" if s.cause_right else "wrong" if s.alarmed else "-") if s.kind != "healthy" else ""
    step = "" if s.alarm_step is None else str(s.alarm_step)
    words = (", ".join(s.words) or "none") if failing else ""
    said = f"{s.said:24s} {cause:6s} {step:>6s} {s.warnings:6d} {words} {s.error or ''}"
    return f"{s.name:34s} {s.seed:4d} {s.kind:8s} {said}"


def totals(scores):
    """Return the numbers of the last line."""
    failing = [s for s in scores if s.kind == "failing"]
    healthy = [s for s in scores if s.kind == "healthy"]
    passing = [s for s in scores if s.kind == "passing"]
    return {
        "failing": len(failing),
        "failing_found": sum(s.found for s in failing),
        "cause_right": sum(s.cause_right for s in failing),
        "led_to_fix": sum(bool(s.words) for s in failing),
        "healthy": len(healthy),
        "healthy_alarmed": sum(s.alarmed for s in healthy),
        "healthy_warned": sum(s.warnings > 0 for s in healthy),
        "passing": len(passing),
        "passing_wrong_cause": sum(s.alarmed and not s.cause_right for s in passing),
        "errors": sum(s.error is not None for s in scores),
    }


def record(scores):
    """Return the scores and their totals as values that JSON can hold."""
    return {"totals": totals(scores), "scores": [asdict(s) for s in scores]}
