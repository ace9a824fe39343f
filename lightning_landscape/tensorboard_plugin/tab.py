"""The server of the Landscape tab: it returns the records of monitors, which TensorBoard has read, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from tensorboard import context as requests
from tensorboard.backend import experiment_id, http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from lightning_landscape.tensorboard_plugin.records import PLUGIN, Records

WsgiApp = Callable[..., Iterable[bytes]]


class LandscapeTab(base_plugin.TBPlugin):  # type: ignore[misc, unused-ignore]
    """Serves the JavaScript modules, an overview of all runs, and the latest records of single runs."""

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext) -> None:
        super().__init__(context)
        self._records = Records(context.data_provider)
        self._folder = str(context.logdir or getattr(context.flags, "logdir_spec", "") or "")
        self._modules = {file.name: file.read_bytes() for file in files(__package__).joinpath("static").iterdir()}

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
        modules = {f"/{name}": partial(_serve_module, content) for name, content in self._modules.items()}
        return {
            **{path: wrappers.Request.application(serve) for path, serve in modules.items()},
            "/runs": self._serve_runs,
            "/run": self._serve_run,
            "/courses": self._serve_courses,
        }

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_runs(self, request: wrappers.Request) -> wrappers.Response:
        """Return the state of every run in short, the run with the latest record first."""
        return _json_response(request, {**self._records.overview(**_query(request)), "folder": self._folder})

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_run(self, request: wrappers.Request) -> wrappers.Response:
        """Return the latest readable record of each part of one run, and the number of records that cannot be read."""
        return _json_response(request, self._records.run(request.args.get("run", ""), **_query(request)))

    @wrappers.Request.application  # type: ignore[arg-type]
    def _serve_courses(self, request: wrappers.Request) -> wrappers.Response:
        """Return the part "course" of several runs, which holds the whole loss curve."""
        return _json_response(request, self._records.courses(request.args.getlist("run"), **_query(request)))


def _query(request: wrappers.Request) -> dict[str, Any]:
    """Return the request's context and experiment, as arguments for TensorBoard's data provider."""
    experiment = request.environ.get(experiment_id.WSGI_ENVIRON_KEY, "")
    return {"ctx": requests.from_environ(request.environ), "experiment_id": experiment}


def _serve_module(content: bytes, request: wrappers.Request) -> wrappers.Response:
    response: wrappers.Response = http_util.Respond(request, content, "text/javascript")
    return response


def _json_response(request: wrappers.Request, content: Mapping[str, Any]) -> wrappers.Response:
    text = json.dumps(content, allow_nan=False)
    response: wrappers.Response = http_util.Respond(request, text, "application/json")
    return response
