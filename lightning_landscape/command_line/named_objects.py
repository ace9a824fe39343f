"""Objects that the user names: ``package.module:Name``, or the classes in a file of LightningCLI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lightning_landscape.command_line.answer import CannotLookError


def imported(option: str, name: str) -> Any:
    """Return the object of the name ``package.module:Name`` that an option was given.

    Raises:
        CannotLookError: if the name has another form or cannot be imported.
    """
    if ":" not in name:
        raise CannotLookError(f"{option} must look like package.module:Name, got {name!r}")
    try:
        return resolve_name(name)
    except Exception as error:  # the user's module may raise any error when it is imported
        raise CannotLookError(f"{option} {name!r} cannot be imported: {type(error).__name__}: {error}") from error


def lightning_cli_file(path: Path | None) -> Mapping[str, Any]:
    """Return the content of a file of LightningCLI; empty without one.

    Raises:
        CannotLookError: if it cannot be read, or is no mapping.
    """
    if path is None:
        return {}
    import yaml  # comes with Lightning

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CannotLookError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise CannotLookError(f"--config {path} must hold names with values, such as trainer: and model:")
    content = content["fit"] if isinstance(content.get("fit"), Mapping) else content
    for section in ("model", "data", "trainer"):
        if not isinstance(content.get(section) or {}, Mapping):
            raise CannotLookError(f"--config {path}: {section} must hold names with values, got {content[section]!r}")
    return content


def of_class_path(what: str, path: object) -> Any:
    """Return the class of a `class_path` in the file; `what` says whose it is."""
    package, _, name = str(path).rpartition(".")
    return imported(f"{what} of --config", f"{package}:{name}")


def created(value: Any) -> Any:
    """Return a value of the file, with an object in place of each class that is named with its arguments.

    Raises:
        CannotLookError: if an object cannot be created.
    """
    if isinstance(value, list):
        return [created(item) for item in value]
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    make = of_class_path("a class", value["class_path"])
    try:
        return make(**{name: created(item) for name, item in (value.get("init_args") or {}).items()})
    except Exception as error:  # the user's constructor may raise any error
        raise CannotLookError(f"{value['class_path']} cannot be created: {type(error).__name__}: {error}") from error
