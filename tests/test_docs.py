"""The callback on the page `docs/surface.md` runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from tests.zoo import SPECIMENS, train

DOCS = Path(__file__).parents[1] / "docs"


def test_the_callback_on_the_surface_page_computes_a_gradient():
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "surface.md").read_text(), flags=re.DOTALL)
    names: dict[str, type] = {}
    exec(compile(block, "surface.md", "exec"), names)
    callback = names["Midpoint"]()
    train(SPECIMENS["Perceptron"], callback)

    assert all(torch.isfinite(gradient).all() and gradient.abs().sum() > 0 for gradient in callback.gradient)
