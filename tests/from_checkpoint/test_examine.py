"""A run is examined at its checkpoint: on which weights, with what is known of it, and what cannot be examined."""

import warnings

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_landscape import LandscapeMonitor
from lightning_landscape.from_checkpoint import examine, stored_run
from lightning_landscape.from_checkpoint.fit import RunFailedError
from tests.command_line import shop

SETTINGS = {"accelerator": "cpu"}


def checkpoint_of(folder, module, *callbacks, steps=64, **saving):
    L.seed_everything(0, verbose=False)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(max_steps=steps, max_epochs=-1, accelerator="cpu", callbacks=[*callbacks], **quiet)
        trainer.fit(module, datamodule=shop.Data())
        trainer.save_checkpoint(folder / "last.ckpt", **saving)
    return folder / "last.ckpt"


class Scheduled(shop.Dead):
    """Its scheduler waits for a metric of the validation, and its batch norm has buffers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def training_step(self, batch, batch_idx):
        return super().training_step((self.norm(batch[0]), batch[1]), batch_idx)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss", "strict": False},
        }

    def configure_callbacks(self):
        return [L.pytorch.callbacks.ModelSummary()]


def test_an_assumed_length_of_the_run_is_said_and_a_given_one_is_not(tmp_path):
    path = checkpoint_of(tmp_path, shop.Dead())
    notes = examine(stored_run(path, shop.Dead, shop.Data(), trainer=SETTINGS)).report.to_dict()["notes"]
    assumed = "assumed: the whole run takes 2,000 optimizer steps, of which 64 are over"
    assert [note for note in notes if note.startswith("assumed")] == [
        f"{assumed} (give the true number with `--horizon STEPS`)"
    ]
    given = examine(stored_run(path, shop.Dead, shop.Data(), trainer=SETTINGS, horizon=640)).report.to_dict()["notes"]
    assert not any(note.startswith("assumed") for note in given)


def test_the_diagnosis_is_made_at_the_weights_buffers_and_optimizer_state_of_the_checkpoint(tmp_path):
    path = checkpoint_of(tmp_path, Scheduled())
    run = stored_run(path, Scheduled, shop.Data(), trainer=SETTINGS)
    found = examine(run)
    assert found.verdict.cause == "flat_region"
    assert found.verdict.step == 63
    for name, tensor in run.content["state_dict"].items():
        assert torch.equal(run.module.state_dict()[name], tensor), name
    assert [*tmp_path.iterdir()] == [path]


def test_the_state_of_the_runs_own_monitor_is_used(tmp_path):
    monitor = LandscapeMonitor()
    path = checkpoint_of(tmp_path, shop.Dead(), monitor)
    found = examine(stored_run(path, shop.Dead, shop.Data(), trainer=SETTINGS))
    assert found.watched
    assert found.report.steps == 64
    assert found.verdict.cause == "flat_region"
    assert "not watched" not in found.verdict.reason
    assert "what the run's own LandscapeMonitor had seen was read from the checkpoint" in found.report


def test_a_checkpoint_without_optimizer_states_is_examined_and_a_note_says_so(tmp_path):
    path = checkpoint_of(tmp_path, shop.Dead(), weights_only=True)
    found = examine(stored_run(path, shop.Dead, shop.loader(), trainer=SETTINGS))
    assert found.verdict.cause == "flat_region"
    assert "holds no state of the optimizer" in found.report


class Two(shop.Classifier):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD([weight], lr=0.1) for weight in self.parameters()]


def test_several_optimizers_are_not_judged(tmp_path):
    path = checkpoint_of(tmp_path, Two())
    found = examine(stored_run(path, Two, shop.Data(), trainer=SETTINGS))
    assert found.verdict is None
    assert "several optimizers" in found.report or "optimizers" in found.report


def test_an_error_of_the_module_is_said_with_its_class(tmp_path):
    class Fails(shop.Dead):
        def on_train_start(self):
            raise KeyError("missing")

    path = checkpoint_of(tmp_path, shop.Dead())
    with pytest.raises(RunFailedError, match=r"cannot be continued from .*last.ckpt: KeyError: 'missing'"):
        examine(stored_run(path, Fails, shop.Data(), trainer=SETTINGS))


def test_data_without_a_batch_are_refused(tmp_path):
    path = checkpoint_of(tmp_path, shop.Dead())
    with pytest.raises(RunFailedError, match=r"give a longer training loader|cannot be continued"):
        examine(stored_run(path, shop.Dead, DataLoader([]), trainer=SETTINGS))
