"""The JavaScript modules of the Landscape tab as one script, for a page that loads nothing."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

ENTRY = "landscape.js"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let) )", re.MULTILINE)


@cache
def one_script() -> str:
    """Return all modules that the entry needs, each after those that it imports, without imports and exports.

    This works because no two modules define the same name at their top level, and none renames what it imports.
    """
    return "\n".join(EXPORT.sub("", IMPORT.sub("", source)) for source in modules().values())


def modules() -> dict[str, str]:
    """Return the sources of the modules that the entry needs by file name, each after those that it imports."""
    folder = files("lightning_landscape").joinpath("tensorboard_plugin/static")
    ordered: dict[str, str] = {}

    def add(name: str) -> None:
        source = folder.joinpath(name).read_text(encoding="utf-8")
        for needed in IMPORT.findall(source):
            if needed not in ordered:
                add(needed)
        ordered[name] = source

    add(ENTRY)
    return ordered
