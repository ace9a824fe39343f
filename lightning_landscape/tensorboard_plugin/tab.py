"""The Landscape tab: finds the records that monitors have left in event files, and serves them to one ES module."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any

from tensorboard import context as requests
from tensorboard.backend import experiment_id, http_util
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

PLUGIN = "lightning_landscape"
"""the plugin's name, in its routes and in the records; TensorBoard does not start with two plugins of one name"""
RECORDS = 1000
"""records of one tag that are asked for; TensorBoard keeps fewer, but always the last"""
LARGEST = 4_000_000
"""bytes of a record; nothing of ours comes near"""


class LandscapeTab(base_plugin.TBPlugin):  # type: ignore[misc, unused-ignore]
    """Three routes: the module, the names of the runs, and the latest record of each part of one run."""

    plugin_name = PLUGIN

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._provider = context.data_provider
        self._module = files(__package__).joinpath("static/landscape.js").read_bytes()

    def is_active(self) -> bool:
        """False without looking: `data_plugin_names` shows the tab wherever a run holds our records."""
        return False

    def data_plugin_names(self) -> Iterable[str]:
        """Whose records make the tab appear."""
        return (PLUGIN,)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Where the module is and what the tab is called."""
        return base_plugin.FrontendMetadata(es_module_path="/landscape.js", tab_name="Landscape")

    def get_plugin_apps(self) -> Mapping[str, Callable[..., Any]]:
        """The routes."""
        return {"/landscape.js": self._serve_module, "/runs": self._serve_runs, "/run": self._serve_run}

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_module(self, request: wrappers.Request) -> Any:
        return http_util.Respond(request, self._module, "text/javascript")

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_runs(self, request: wrappers.Request) -> Any:
        found = self._provider.list_tensors(**_asked(request), plugin_name=PLUGIN)
        latest = {run: max(tag.max_wall_time for tag in tags.values()) for run, tags in found.items() if tags}
        return _answer(request, sorted(latest, key=lambda run: (-latest[run], run)))

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_run(self, request: wrappers.Request) -> Any:
        run = request.args.get("run", "")
        found = self._provider.read_tensors(
            **_asked(request),
            plugin_name=PLUGIN,
            downsample=RECORDS,
            run_tag_filter=provider.RunTagFilter(runs=[run]),
        )
        parts: dict[str, Any] = {}
        skipped = 0
        for tag, records in found.get(run, {}).items():
            contents = [_content(record) for record in records]
            readable = [content for content in contents if content is not None]
            skipped += len(contents) - len(readable)
            if readable:  # each record holds all that came before it
                parts[tag.rpartition("/")[2]] = readable[-1]
        return _answer(request, {"parts": parts, "skipped": skipped})


def _asked(request: wrappers.Request) -> dict[str, Any]:
    """Who asks, and for which experiment."""
    experiment = request.environ.get(experiment_id.WSGI_ENVIRON_KEY, "")
    return {"ctx": requests.from_environ(request.environ), "experiment_id": experiment}


def _content(record: Any) -> dict[str, Any] | None:
    """What a record says, or None where it was not written by us."""
    try:
        raw = record.numpy.item()
        text = raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)
        content = json.loads(text, parse_constant=_refuse) if len(text) <= LARGEST else None
        json.dumps(content, allow_nan=False)  # 1e999 is JSON, and infinite: the answer would break on it
    except (ValueError, AttributeError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("schema"), int) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _answer(request: wrappers.Request, content: Any) -> Any:
    return http_util.Respond(request, json.dumps(content, allow_nan=False), "application/json")
