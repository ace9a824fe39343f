"""Where in the user's code an operation of torch is called: the module, the line and its text."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from torch import nn

from lightning_landscape.module_surface.training_step import TrainingStep

LONGEST = 100
"""most characters of a line of code"""
_LIBRARIES = ("torch", "lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics", "lightning_landscape")
"""packages whose lines are not the user's code"""
_OUTERMOST = TrainingStep.__call__.__code__
"""the code that calls the training step; what called it in turn is the training loop"""
_ORDINALS = re.compile(r"Backward\d*$")
_NAMES = {
    "true_divide": "div",
    "truediv": "div",
    "rtruediv": "div",
    "rdiv": "div",
    "itruediv": "div",
    "idiv": "div",
    "divide": "div",
    "rpow": "pow",
    "ipow": "pow",
    "linalg_norm": "norm",
    "linalg_vector_norm": "norm",
    "vector_norm": "norm",
    "matrix_norm": "norm",
    "norm_except_dim": "norm",
    "euclidean_dist": "cdist",
    "arccos": "acos",
    "arcsin": "asin",
    "special_xlogy": "xlogy",
    "multiply": "mul",
    "rmul": "mul",
    "imul": "mul",
    "radd": "add",
    "iadd": "add",
    "rsub": "sub",
    "isub": "sub",
    "nll_loss_nd": "nll_loss",
    "safe_softmax": "softmax",
}
"""names of torch's functions and of its nodes, without underscores, by which users do not call them"""


class CallSite(NamedTuple):
    """Where an operation is called."""

    module: str = ""
    """name of the submodule whose code calls it; of the method, where it is the LightningModule's own"""
    place: str = ""
    """file and line: "train.py, line 41" as text"""
    code: str = ""
    """the source text of that line"""


NOWHERE = CallSite()
"""the site of a call that is not known"""


def operation_name(name: str) -> str:
    """Return the name by which users call an operation, from the name of a function or of a node of a graph.

    >>> operation_name("__rtruediv__"), operation_name("sqrt_"), operation_name("LinalgVectorNormBackward0")
    ('div', 'sqrt', 'norm')
    """
    if _ORDINALS.search(name):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", _ORDINALS.sub("", name)).lower()
    name = name.strip("_")
    return _NAMES.get(name, name)


def call_site(names: Mapping[int, str]) -> CallSite:
    """Return where the training step calls the operation from which this function is called.

    Args:
        names: the names of the submodules, by their ids.
    """
    module = place = code = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _OUTERMOST and not (module and place):
        file = frame.f_code.co_filename
        if not place and frame.f_globals.get("__name__", "").partition(".")[0] not in _LIBRARIES:
            place = f"{Path(file).name}, line {frame.f_lineno}"
            code = linecache.getline(file, frame.f_lineno).strip()[:LONGEST]
        owner = frame.f_locals.get("self")
        if not module and isinstance(owner, nn.Module) and id(owner) in names:
            module = names[id(owner)] or frame.f_code.co_name
        frame = frame.f_back
    return CallSite(module, place, code)
