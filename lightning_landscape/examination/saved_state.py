"""The state of a monitor in a checkpoint: its schema, and how states of older versions are read."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any, Protocol

log = logging.getLogger("lightning_landscape")

SCHEMA = 3
"""the version of the state's layout; version 0.1 of the library wrote schema 2"""


class HasState(Protocol):
    """A part of a monitor with a state of its own."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...


def state_of(parts: Mapping[str, HasState]) -> dict[str, Any]:
    """Return the states of the parts by their names, with the schema."""
    return {"schema": SCHEMA, **{name: part.state_dict() for name, part in parts.items()}}


def restore(state: Mapping[str, Any], parts: Mapping[str, HasState]) -> bool:
    """Load the state of each part; return False if the state is damaged or has an unknown schema."""
    try:
        current = _current(state)
        for name, part in parts.items():
            part.load_state_dict(current[name])
            part.state_dict()  # raises an error now, and not at the next checkpoint, if a value has the wrong type
    except Exception as error:  # a damaged file may cause any error
        log.info("the state in the checkpoint is not used and the monitor starts anew: %r", error)
        return False
    return True


def _current(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state of the present schema.

    Raises:
        ValueError: if the schema is unknown.
    """
    schema = state["schema"] if "schema" in state else state["seen"]["schema"]
    if schema == SCHEMA:
        return state
    if schema == 2:
        return _from_2(copy.deepcopy(dict(state)))
    raise ValueError(f"schemas 2 and {SCHEMA} are known, got {schema!r}")


def _from_2(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state of version 0.1 in schema 3, which stores readings once and has other names."""
    run, examination, document = state["seen"], state["examination"], state["seen"].pop("chronicle")
    readings: dict[str, dict[str, Any]] = {}
    for key, series in document.pop("readings").items():
        name, _, anchor = key.partition(":")
        readings.setdefault(name, {})[anchor] = series
    for verdict in run["verdicts"]:
        _rename(verdict["evidence"], Movement="UpdateStatistics")
        if "UpdateStatistics" in verdict["evidence"]:
            updates = verdict["evidence"]["UpdateStatistics"]
            _rename(updates, without_gradient="no_grad_share", not_held="not_in_optimizer")
    _rename(run, treatments="remedy_outcomes", told="announced_codes", missing="no_grad_share")
    run |= {"readings": readings, "document": document}
    run = {"remedy_outcomes": [], "scalars": {}, **run}
    _rename(examination, planned="captures_batches", put_off="postponed")
    account = {"effort": None, "diagnoses": 0.0, "scheduled": 0.0}  # version 0.1 did not count work
    examination = {"postponed": False, "pictured": None, "account": account, **examination, "underway": None}
    return {"schema": SCHEMA, "recorder": state["recorder"], "run": run, "examination": examination}


def _rename(fields: dict[str, Any], **names: str) -> None:
    """Rename these keys, where they exist."""
    for old, new in names.items():
        if old in fields:
            fields[new] = fields.pop(old)
