"""The loss of a LightningModule as a function of its weights; the module is left as it was."""
