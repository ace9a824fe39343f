"""The reading of a comparison of several runs: the losses at their ends, and the barriers between them."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_landscape.evidence.short_repr import short_repr

TOLERANCE = 0.1
"""largest barrier within one basin, as a share of the larger loss of the two ends"""


@dataclass(frozen=True)
class RunComparison:
    """The loss at the end of each run, and the barrier on the straight line between every two of these ends.

    Hidden units can be exchanged without changing what a network computes, and runs from different seeds differ at
    least by such a permutation. The comparison does not align the units [Ainsworth22]_. A barrier between two seeds is
    therefore common and does not prove that there are two basins; a missing barrier proves that the runs share one.

    .. [Ainsworth22] Git Re-Basin: merging models modulo permutation symmetries, arXiv:2209.04836.
    """

    runs: tuple[str, ...]
    """name of each run, such as the path of its checkpoint, shape (n,)"""
    losses: tuple[float, ...]
    """loss at the end of each run, on the same batches, shape (n,); may hold NaN and inf"""
    barriers: tuple[tuple[float, ...], ...]
    """largest rise of the loss above the straight line between two ends, in units of the loss, shape (n, n), symmetric
    with 0 on the diagonal; NaN if an end is not finite, inf if only a point between them is not"""
    samples: int
    """number of samples that the loss averages over; 0 if it is unknown"""
    points: int
    """number of positions on each line, including both ends"""
    tolerance: float = TOLERANCE
    """largest barrier within one basin, as a share of the larger loss of the two ends"""
    notes: tuple[str, ...] = ()
    """limits of the comparison, in sentences"""

    __repr__ = short_repr

    @property
    def best(self) -> str | None:
        """Name of the run with the lowest finite loss; None if no loss is finite."""
        finite = [(loss, run) for loss, run in zip(self.losses, self.runs, strict=True) if abs(loss) < float("inf")]
        return min(finite)[1] if finite else None

    def connected(self, first: int, second: int) -> bool:
        """Return whether the barrier between two runs, given by their indices, is within the tolerance."""
        # If a barrier or a loss is NaN, the comparison is False.
        return self.barriers[first][second] <= self.tolerance * max(abs(self.losses[first]), abs(self.losses[second]))

    @property
    def basins(self) -> tuple[tuple[str, ...], ...]:
        """The names of the runs in groups: two connected runs are always in one group."""
        groups: list[list[int]] = []
        for run in range(len(self.runs)):
            joined = [group for group in groups if any(self.connected(run, other) for other in group)]
            groups = [group for group in groups if group not in joined]
            groups.append(sorted([run, *(other for group in joined for other in group)]))
        return tuple(tuple(self.runs[run] for run in group) for group in sorted(groups))

    def sentence(self) -> str:
        """Return a sentence that says which runs share a basin."""
        limit = f"a barrier of at most {self.tolerance:.0%} of the larger loss at its ends"
        shared = [" and ".join(group) for group in self.basins if len(group) > 1]
        if not shared:
            return f"No two of the {len(self.runs)} runs share a basin ({limit})."
        if len(self.basins) == 1:
            return f"All {len(self.runs)} runs share one basin ({limit})."
        alone = sum(len(group) == 1 for group in self.basins)
        rest = f"; {alone} {'run shares' if alone == 1 else 'runs share'} no basin with another" if alone else ""
        return f"These runs share a basin: {'; '.join(shared)}{rest} ({limit})."

    @property
    def limits(self) -> list[str]:
        """How the comparison was made, and its limits, in sentences."""
        data = f"{self.samples:,} samples" if self.samples else "the same batches"
        return [
            f"The loss was evaluated at {self.points} points on each line, on {data}.",
            "Hidden units are not aligned: a barrier between different seeds does not prove that their basins differ.",
            *self.notes,
        ]

    def to_markdown(self) -> str:
        """Return the comparison as Markdown: a sentence, a table of losses and barriers, and the limits as a list."""
        header = "| run | loss | " + " | ".join(f"barrier to {i}" for i in range(1, len(self.runs) + 1)) + " |"
        rows = [
            f"| {i}. {_cell(run)} | {loss:.4g} | "
            + " | ".join("" if i - 1 == j else f"{barrier:.3g}" for j, barrier in enumerate(self.barriers[i - 1]))
            + " |"
            for i, (run, loss) in enumerate(zip(self.runs, self.losses, strict=True), 1)
        ]
        best = "" if self.best is None else f" {_cell(self.best)} has the lowest loss."
        table = "\n".join([header, "|---|--:|" + "--:|" * len(self.runs), *rows])
        return "\n\n".join([self.sentence() + best, table, "\n".join(f"- {note}" for note in self.limits)])


def _cell(text: str) -> str:
    """Return the text such that it fits into a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
