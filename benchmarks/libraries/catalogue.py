"""The libraries that are tried: the file of the example, and what pip installs for it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "libraries"


class Library(NamedTuple):
    """A library with an example in ``examples/libraries``."""

    example: str
    """name of the file, without its suffix"""
    package: str
    """name of the library in the package registry"""
    needs: tuple[str, ...] = ()
    """what else pip installs for the example"""
    steps: int = 400
    """optimizer steps of a run"""

    @property
    def file(self) -> Path:
        """The file of the example."""
        return EXAMPLES / f"{self.example}.py"


LIBRARIES = (
    Library("transformers_gpt2", "transformers"),
    Library("forecasting_tft", "pytorch-forecasting", steps=300),
    Library("neuralforecast_nhits", "neuralforecast"),
    Library("darts_nbeats", "darts"),
    Library("scvi_cells", "scvi-tools"),
    Library("chemprop_mpnn", "chemprop", steps=300),
    Library("pyg", "torch-geometric"),
    Library("monai_unet", "monai"),
    Library("gluonts_deepar", "gluonts", ("gluonts[torch]",)),
    Library("rectools_sasrec", "rectools", ("rectools[torch]",)),
    Library("diffusers_unet", "diffusers"),
    Library("pina_poisson", "pina-mathlab"),
)
