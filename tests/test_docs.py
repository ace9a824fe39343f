"""What the documents show is run."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from tests.zoo import SPECIMENS, train

DOCS = Path(__file__).parents[1] / "docs"


def test_the_callback_of_the_surface_page_takes_a_gradient():
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "surface.md").read_text(), flags=re.DOTALL)
    names: dict[str, type] = {}
    exec(compile(block, "surface.md", "exec"), names)
    callback = names["Midpoint"]()
    train(SPECIMENS["Perceptron"], callback)

    assert all(torch.isfinite(part).all() and part.abs().sum() > 0 for part in callback.gradient)
