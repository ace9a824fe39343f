"""Evaluate the loss of a LightningModule as a function of its weights, without a trace in the training run."""
