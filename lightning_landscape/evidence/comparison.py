"""The reading of several runs side by side: do they share a basin?"""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 0.1
"""share of the higher end's loss that a barrier within one basin stays below"""


@dataclass(frozen=True)
class RunComparison:
    """The loss at the end of each run, and how far it rises on the straight line between every two of them.

    Hidden units may be exchanged without changing what a network computes, and runs from different seeds differ by such
    a permutation at least. It is not aligned here [Ainsworth22]_: a barrier between two seeds is the usual thing and no
    proof of two basins, while a missing one is a proof that they share one.

    .. [Ainsworth22] Git Re-Basin: merging models modulo permutation symmetries, arXiv:2209.04836.
    """

    runs: tuple[str, ...]
    """names, n of them"""
    losses: tuple[float, ...]
    """shape (n,), on the same batches; NaN and inf stay what they are"""
    barriers: tuple[tuple[float, ...], ...]
    """shape (n, n), symmetric, 0 on the diagonal: largest rise over the chord, in units of the loss; inf where the loss
    on the way is not finite, NaN where an end is not"""
    samples: int
    """how many samples the loss averages over; 0 where that is not known"""
    points: int
    """positions on each line, both ends included"""
    tolerance: float = TOLERANCE
    """barrier over the larger loss of the two ends up to which these count as one basin"""
    notes: tuple[str, ...] = ()
    """what the numbers do not cover"""

    @property
    def best(self) -> str | None:
        """The run of lowest finite loss; None where no loss is finite."""
        finite = [(loss, run) for loss, run in zip(self.losses, self.runs, strict=True) if abs(loss) < float("inf")]
        return min(finite)[1] if finite else None

    def connected(self, first: int, second: int) -> bool:
        """Whether the line between two runs, by their positions, stays within the tolerance."""
        # Not finite on either side compares as False.
        return self.barriers[first][second] <= self.tolerance * max(abs(self.losses[first]), abs(self.losses[second]))

    @property
    def basins(self) -> tuple[tuple[str, ...], ...]:
        """The runs in groups: within one, each is connected to another, and none is to a run outside."""
        found: list[list[int]] = []
        for run in range(len(self.runs)):
            joined = [group for group in found if any(self.connected(run, other) for other in group)]
            found = [group for group in found if group not in joined]
            found.append(sorted([run, *(other for group in joined for other in group)]))
        return tuple(tuple(self.runs[run] for run in group) for group in sorted(found))

    def sentence(self) -> str:
        """Which runs share a basin, in words."""
        limit = f"barrier at most {self.tolerance:.0%} of the higher end's loss"
        shared = [" and ".join(group) for group in self.basins if len(group) > 1]
        if not shared:
            return f"No two of the {len(self.runs)} runs share a basin on a straight line ({limit})."
        if len(self.basins) == 1:
            return f"All {len(self.runs)} runs share one basin ({limit})."
        alone = sum(len(group) == 1 for group in self.basins)
        rest = f", {alone} by {'itself' if alone == 1 else 'themselves'}" if alone else ""
        return f"Sharing a basin: {'; '.join(shared)}{rest} ({limit})."

    def to_markdown(self) -> str:
        """A sentence, the table of losses and barriers, and what the numbers do not cover."""
        header = "| run | loss | " + " | ".join(f"barrier to {i}" for i in range(1, len(self.runs) + 1)) + " |"
        rows = [
            f"| {i}. {_cell(run)} | {loss:.4g} | "
            + " | ".join("" if i - 1 == j else f"{barrier:.3g}" for j, barrier in enumerate(self.barriers[i - 1]))
            + " |"
            for i, (run, loss) in enumerate(zip(self.runs, self.losses, strict=True), 1)
        ]
        best = "" if self.best is None else f" The lowest loss is that of {_cell(self.best)}."
        seen = f"{self.samples:,} samples" if self.samples else "the same batches"
        notes = [
            f"{self.points} points on each line, on {seen}.",
            "Hidden units are not aligned: a barrier between different seeds is no proof of different basins.",
            *self.notes,
        ]
        table = "\n".join([header, "|---|--:|" + "--:|" * len(self.runs), *rows])
        return "\n\n".join([self.sentence() + best, table, "\n".join(f"- {note}" for note in notes)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
