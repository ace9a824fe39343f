"""A callback that writes a checkpoint in the middle of a run."""

import lightning as L


class SaveAt(L.Callback):
    """Writes a checkpoint after one optimizer step."""

    def __init__(self, at, path):
        self.at, self.path = at, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.at:
            trainer.save_checkpoint(self.path)
