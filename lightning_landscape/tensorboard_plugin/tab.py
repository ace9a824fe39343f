"""The server of the Landscape tab: it reads the records of monitors from event files and returns them as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any, NoReturn

from tensorboard import context as requests
from tensorboard.backend import experiment_id, http_util
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

PLUGIN = "lightning_landscape"
"""name of the plugin in its routes and in the records; TensorBoard does not start with two plugins of one name"""
RECORDS = 1000
"""records that are read of each tag; TensorBoard keeps fewer in memory, always including the last"""
LARGEST = 4_000_000
"""characters of the largest record that is read; the records that this library writes are much smaller"""

WsgiApp = Callable[..., Iterable[bytes]]


class LandscapeTab(base_plugin.TBPlugin):  # type: ignore[misc, unused-ignore]
    """Serves the JavaScript module, the names of the runs, and the latest record of each part of one run."""

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext) -> None:
        super().__init__(context)
        self._provider = context.data_provider
        self._module = files(__package__).joinpath("static/landscape.js").read_bytes()

    def is_active(self) -> bool:
        """Return False; TensorBoard shows the tab as soon as it reads a record of `data_plugin_names`."""
        return False

    def data_plugin_names(self) -> Iterable[str]:
        """Return the names of the plugins whose records make TensorBoard show the tab."""
        return (PLUGIN,)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Return the path of the JavaScript module and the name of the tab."""
        return base_plugin.FrontendMetadata(es_module_path="/landscape.js", tab_name="Landscape")

    def get_plugin_apps(self) -> Mapping[str, WsgiApp]:
        """Return the WSGI application of each route."""
        return {"/landscape.js": self._serve_module, "/runs": self._serve_runs, "/run": self._serve_run}

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_module(self, request: wrappers.Request) -> wrappers.Response:
        response: wrappers.Response = http_util.Respond(request, self._module, "text/javascript")
        return response

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_runs(self, request: wrappers.Request) -> wrappers.Response:
        """Return the names of the runs with records, the one with the latest record first."""
        runs = self._provider.list_tensors(**_query(request), plugin_name=PLUGIN)
        latest = {run: max(tag.max_wall_time for tag in tags.values()) for run, tags in runs.items() if tags}
        return _json_response(request, sorted(latest, key=lambda run: (-latest[run], run)))

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_run(self, request: wrappers.Request) -> wrappers.Response:
        """Return the latest readable record of each part, and the number of records that cannot be read."""
        run = request.args.get("run", "")
        tensors = self._provider.read_tensors(
            **_query(request),
            plugin_name=PLUGIN,
            downsample=RECORDS,
            run_tag_filter=provider.RunTagFilter(runs=[run]),
        )
        parts: dict[str, Any] = {}
        skipped = 0
        for tag, records in tensors.get(run, {}).items():
            contents = [_content(record) for record in records]
            readable = [content for content in contents if content is not None]
            skipped += len(contents) - len(readable)
            if readable:  # Each record includes all earlier ones of its part.
                parts[tag.rpartition("/")[2]] = readable[-1]
        return _json_response(request, {"parts": parts, "skipped": skipped})


def _query(request: wrappers.Request) -> dict[str, Any]:
    """Return the request's context and experiment, as arguments for TensorBoard's data provider."""
    experiment = request.environ.get(experiment_id.WSGI_ENVIRON_KEY, "")
    return {"ctx": requests.from_environ(request.environ), "experiment_id": experiment}


def _content(record: provider.TensorDatum) -> dict[str, Any] | None:
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


def _json_response(request: wrappers.Request, content: list[str] | dict[str, Any]) -> wrappers.Response:
    text = json.dumps(content, allow_nan=False)
    response: wrappers.Response = http_util.Respond(request, text, "application/json")
    return response
