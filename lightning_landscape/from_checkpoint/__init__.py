"""Continue a run from a checkpoint on a copy, to examine it or to try other settings; nothing is written."""

from lightning_landscape.from_checkpoint.examine import Examined as Examined
from lightning_landscape.from_checkpoint.examine import examine as examine
from lightning_landscape.from_checkpoint.loading import StoredRun as StoredRun
from lightning_landscape.from_checkpoint.loading import stored_run as stored_run
from lightning_landscape.from_checkpoint.what_if import Change as Change
from lightning_landscape.from_checkpoint.what_if import what_if as what_if
