"""Run the command line as from a shell, and check its documents against the schemas in docs/command_line.md."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jsonschema

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "command_line.md"


@dataclass
class Done:
    status: int
    out: str
    err: str


def landscape(*arguments, stdin=None, cwd=ROOT, python=()):
    """Run ``landscape`` with these arguments in a process of its own, whose input and output are no terminal."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "lightning_landscape", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def documented_schema(verb):
    """Return the schema in docs/command_line.md whose title is this command, such as "landscape runs"."""
    blocks = re.findall(r"^ *```json\n(.*?)^ *```", PAGE.read_text("utf-8"), re.M | re.S)
    schemas = {schema.get("title"): schema for schema in map(json.loads, blocks)}
    return schemas[f"landscape {verb}"]


def document(verb, *arguments, status, stdin=None):
    """Run a verb with ``--json``, check the exit status and the document, and return the document."""
    done = landscape(verb, *arguments, "--json", stdin=stdin)
    assert done.status == status, done
    content = json.loads(done.out, parse_constant=lambda constant: 1 / 0)
    jsonschema.validate(content, documented_schema(verb if status < 2 else "error"))
    return content


def refusal(*arguments, stdin=None):
    """Run a command that cannot look, and return the one line that it prints on standard error."""
    done = landscape(*arguments, stdin=stdin)
    assert (done.status, done.out) == (2, ""), done
    (line,) = done.err.splitlines()
    assert line.startswith("landscape: ")
    return line.removeprefix("landscape: ")
