"""The records of monitors in the event files that TensorBoard has read.

A record that was read once is read again only when its run has written a newer one: TensorBoard lists the time of the
latest record of each part without reading any.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias

from tensorboard.data import provider

PLUGIN = "lightning_landscape"
"""name of the plugin in its routes and in the records; TensorBoard does not start with two plugins of one name"""
COURSE = f"{PLUGIN}/course"
"""tag of the records of the part "course": the loss curve, the states and the verdicts of a run"""
RECORDS = 1000
"""records that are read of each tag; TensorBoard keeps fewer in memory, always including the last"""
LARGEST = 4_000_000
"""characters of the largest record that is read; the records that this library writes are much smaller"""
SHORT_CURVE = 60
"""points of a loss curve in the overview"""
OF_A_RUN = ("schema", "steps", "horizon", "status", "loss", "tones", "words", "seconds_per_step")
"""fields of a run in the overview, besides its verdicts and its curve"""
OF_A_VERDICT = ("cause", "code", "title", "step", "since", "stuck", "finding", "metric")
"""fields of a verdict in the overview"""
KEPT = 50
"""runs whose latest records are kept in memory"""

Content: TypeAlias = "dict[str, Any]"
Stamp: TypeAlias = "tuple[tuple[str, int, float], ...]"
"""step and time of the latest record of each part, by which a change is noticed"""


class Records:
    """Reads the records of monitors through TensorBoard's data provider.

    Args:
        source: the data provider.
        now: returns the time in seconds, as TensorBoard's records have it.
    """

    def __init__(self, source: provider.DataProvider, now: Callable[[], float] = time.time) -> None:
        self._source, self._now = source, now
        self._short: dict[tuple[str, str], tuple[Stamp, Content | None]] = {}
        self._runs: dict[tuple[str, str], tuple[Stamp, Content]] = {}

    def overview(self, **query: Any) -> Content:
        """Return the time now, and the state of each run in short, the run with the latest record first.

        Args:
            query: the context and the experiment, as arguments for the data provider.
        """
        experiment = str(query.get("experiment_id", ""))
        listed = self._source.list_tensors(**query, plugin_name=PLUGIN)
        stamps = {run: _stamp(tags, COURSE) for run, tags in listed.items() if tags}
        changed = [run for run, stamp in stamps.items() if self._short.get((experiment, run), ((),))[0] != stamp]
        for run, course in self.courses(changed, **query).items():
            self._short[experiment, run] = stamps[run], in_short(course)
        for run in changed:  # those without a readable record
            if self._short.get((experiment, run), ((),))[0] != stamps[run]:
                self._short[experiment, run] = stamps[run], None
        news = self._latest_scalars(listed, query)
        runs = [
            {
                "run": run,
                "seen": max(news.get(run, (0.0, None))[0], *(tag.max_wall_time for tag in listed[run].values())),
                "step": news.get(run, (0.0, None))[1],
                "course": self._short[experiment, run][1],
            }
            for run in stamps
        ]
        return {"now": self._now(), "runs": sorted(runs, key=lambda run: (-run["seen"], run["run"]))}

    def courses(self, runs: Iterable[str], **query: Any) -> Content:
        """Return the latest readable record of the part "course" of each of these runs that has one."""
        names = list(runs)
        latest = self._read(names, 1, query, tag=COURSE)
        found = {run: _latest(tags.get(COURSE, ()))[0] for run, tags in latest.items()}
        if unreadable := [run for run, course in found.items() if course is None]:
            earlier = self._read(unreadable, RECORDS, query, tag=COURSE)
            found |= {run: _latest(tags.get(COURSE, ()))[0] for run, tags in earlier.items()}
        return {run: course for run, course in found.items() if course is not None}

    def run(self, run: str, **query: Any) -> Content:
        """Return the latest readable record of each part of a run, and the number of records that cannot be read."""
        key = str(query.get("experiment_id", "")), run
        only = provider.RunTagFilter(runs=[run])
        listed = self._source.list_tensors(**query, plugin_name=PLUGIN, run_tag_filter=only).get(run, {})
        stamp = _stamp(listed)
        if key not in self._runs or self._runs[key][0] != stamp:
            self._runs.pop(key, None)
            self._runs[key] = stamp, self._read_run(run, query)
            for oldest in list(self._runs)[:-KEPT]:
                self._runs.pop(oldest, None)
        return self._runs[key][1]

    def _read_run(self, run: str, query: Mapping[str, Any]) -> Content:
        parts: Content = {}
        skipped = 0
        for tag, records in self._read([run], RECORDS, query).get(run, {}).items():
            latest, unreadable = _latest(records, count=True)
            skipped += unreadable
            if latest is not None:  # Each record includes all earlier ones of its part.
                parts[tag.rpartition("/")[2]] = latest
        return {"parts": parts, "skipped": skipped}

    def _read(
        self, runs: list[str], records: int, query: Mapping[str, Any], tag: str | None = None
    ) -> Mapping[str, Mapping[str, Any]]:
        if not runs:
            return {}
        only = provider.RunTagFilter(runs=runs, tags=None if tag is None else [tag])
        found: Mapping[str, Mapping[str, Any]] = self._source.read_tensors(
            **query, plugin_name=PLUGIN, downsample=records, run_tag_filter=only
        )
        return found

    def _latest_scalars(self, runs: Iterable[str], query: Mapping[str, Any]) -> dict[str, tuple[float, int | None]]:
        """Return when each run last logged a scalar, and the last step at which this library has logged one."""
        listed = self._source.list_scalars(
            **query, plugin_name="scalars", run_tag_filter=provider.RunTagFilter(runs=list(runs))
        )
        return {
            run: (
                max(tag.max_wall_time for tag in tags.values()),
                max((tag.max_step for name, tag in tags.items() if name.startswith("landscape/")), default=None),
            )
            for run, tags in listed.items()
            if tags
        }


def in_short(course: Mapping[str, Any]) -> Content:
    """Return the fields of the part "course" that the overview shows; a damaged record gives fewer."""
    short = {name: course[name] for name in OF_A_RUN if name in course}
    try:
        on_metrics = {verdict["metric"]: verdict for verdict in course["verdicts"] if verdict.get("metric")}
        of_training = [verdict for verdict in course["verdicts"] if not verdict.get("metric")]
        # the present one and the one before, and the latest on each metric
        verdicts = [*of_training[-2:], *on_metrics.values()]
        short["verdicts"] = [{name: verdict.get(name) for name in OF_A_VERDICT} for verdict in verdicts]
        short["segments"] = course["segments"][-1:]
        curve = course["curve"]
        short["curve"] = {name: _thinned(curve[name]) for name in ("step", "loss")}
    except (KeyError, TypeError, AttributeError):
        short.setdefault("verdicts", [])
    return short


def _thinned(values: list[Any]) -> list[Any]:
    """Return every n-th value and the last, at most `SHORT_CURVE` of them."""
    every = -(-len(values) // (SHORT_CURVE - 1)) or 1
    return [*values[:-1:every], *values[-1:]]


def _stamp(tags: Mapping[str, provider.TensorTimeSeries], only: str | None = None) -> Stamp:
    return tuple(
        (name, tag.max_step, tag.max_wall_time) for name, tag in sorted(tags.items()) if only is None or name == only
    )


def _latest(records: Iterable[provider.TensorDatum], *, count: bool = False) -> tuple[Content | None, int]:
    """Return the content of the latest readable record, and how many others cannot be read if they are to be counted.

    Without counting, records before the latest readable one are not looked at.
    """
    latest, unreadable = None, 0
    for record in reversed(list(records)):
        content = _content(record)
        unreadable += content is None
        latest = content if latest is None else latest
        if latest is not None and not count:
            break
    return latest, unreadable


def _content(record: provider.TensorDatum) -> Content | None:
    """Return the JSON object in a record; None if it is not one that this library has written."""
    try:
        raw = record.numpy.item()
        text = raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)
        content = json.loads(text, parse_constant=_refuse) if len(text) <= LARGEST else None
        json.dumps(content, allow_nan=False)  # Python reads 1e999 as infinity, which the answer cannot hold.
    except (ValueError, AttributeError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("schema"), int) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not valid JSON")
