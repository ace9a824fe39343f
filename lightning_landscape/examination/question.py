"""A user's question to a run: why does the loss not fall? It is answered by a diagnosis without a test for a plateau."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Question:
    """Whether the user has asked for a diagnosis of the run."""

    asked: bool = False
    """whether a diagnosis is due that the user has asked for"""
    unwatched: bool = False
    """whether the loss was not watched, so that the user's word stands in for the test that it stands still"""

    def since(self, since: int | None, step: int) -> int:
        """Return the step from which the loss is taken to stand still at `step`; `since` is that of a known plateau."""
        return since if since is not None else max(0, step - 1) if self.asked else step
