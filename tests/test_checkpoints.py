"""Every kind of file that a path may lead to: good ones give the weights, others a reason, and nothing in them runs."""

import os
import pickle
import warnings
import zipfile
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn

from lightning_landscape.checkpoints import read_weights
from lightning_landscape.errors import CheckpointError

WEIGHTS = {"net.weight": torch.arange(6.0).reshape(2, 3), "net.bias": torch.tensor([7.0, 8.0])}
MAPS = Path("/proc/self/maps")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.ckpt"


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


def reason(path, like=None):
    with pytest.raises(CheckpointError) as caught:
        read_weights(path, WEIGHTS if like is None else like)
    assert str(path) in str(caught.value)
    return str(caught.value)


def same(found, expected=None):
    expected = WEIGHTS if expected is None else expected
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_checkpoint_of_lightning_gives_the_parameters_and_nothing_else(path):
    class WithBuffer(BoringModel):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

    model = WithBuffer()
    trainer = L.Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, model.train_dataloader())
    trainer.save_checkpoint(path)
    assert same(read_weights(path, dict(model.named_parameters())), dict(model.named_parameters()))


def test_a_file_may_contain_a_bare_state_dict_and_a_path_may_be_a_string(path):
    assert same(read_weights(str(saved(WEIGHTS, path)), WEIGHTS))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "_fsdp_wrapped_module.", "_forward_module.", "_orig_mod._orig_mod."])
def test_additions_of_wrappers_to_the_names_are_ignored_in_file_and_model(path, prefix):
    wrapped = {name.replace("net.", f"net.{prefix}"): tensor for name, tensor in WEIGHTS.items()}
    assert same(read_weights(saved({"state_dict": wrapped}, path), WEIGHTS))
    assert same(read_weights(saved({"state_dict": WEIGHTS}, path), wrapped), wrapped)


def test_the_weights_of_a_compiled_module_can_be_read_for_its_original(path):
    module = nn.Sequential(nn.Linear(2, 2))
    compiled = torch.compile(module, backend="eager")
    here = dict(module.named_parameters())
    assert same(read_weights(saved(compiled.state_dict(), path), here), here)


def test_a_tied_parameter_is_read_once(path):
    module = nn.ModuleDict({"encoder": nn.Linear(3, 3), "decoder": nn.Linear(3, 3)})
    module["decoder"].weight = module["encoder"].weight
    here = {name: weight.detach() for name, weight in module.named_parameters()}
    assert same(read_weights(saved(module.state_dict(), path), here), here)


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists the files that are mapped into memory")
def test_weights_are_memory_mapped(path):
    weights = read_weights(saved(WEIGHTS, path), WEIGHTS)
    assert os.fspath(path) in MAPS.read_text()
    assert {weight.device.type for weight in weights.values()} == {"cpu"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_a_checkpoint_keeps_its_precision(path, dtype):
    converted = {name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}
    like = converted if dtype.is_complex else WEIGHTS
    assert same(read_weights(saved(converted, path), like), converted)


def test_weights_that_are_not_finite_are_read_as_they_are(path):
    broken = WEIGHTS | {"net.bias": torch.tensor([torch.nan, torch.inf])}
    bias = read_weights(saved(broken, path), WEIGHTS)["net.bias"]
    assert bias.isnan().tolist() == [True, False]


def test_a_missing_file_is_refused(path):
    assert reason(path) == f"{path} does not exist"


def test_an_empty_file_is_refused(path):
    path.touch()
    assert reason(path) == f"{path} is empty"


def test_a_directory_is_refused_with_the_hint_that_it_may_be_a_sharded_checkpoint(tmp_path):
    assert "is a directory (a sharded checkpoint?)" in reason(tmp_path)


def test_a_file_of_torch_before_1_6_has_no_checksums_and_is_refused_with_what_to_do(path):
    saved(WEIGHTS, path, _use_new_zipfile_serialization=False)
    assert "load and save it again" in reason(path)


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"PK\x03\x04" + b"\xff" * 500, b"PK\x05\x06" + b"\0" * 18, b"[1]\n"])
def test_garbage_is_refused(path, garbage):
    path.write_bytes(garbage)
    assert reason(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path, share):
    saved(WEIGHTS, path)
    os.truncate(path, int(path.stat().st_size * share))
    assert "is damaged" in reason(path)


def test_a_flipped_bit_in_a_tensor_is_detected_although_torch_loads_it(path):
    saved(WEIGHTS, path)
    data = bytearray(path.read_bytes())
    at = data.index(WEIGHTS["net.weight"].numpy().tobytes()) + 7
    data[at] ^= 1
    path.write_bytes(data)
    assert not torch.equal(torch.load(path)["net.weight"], WEIGHTS["net.weight"])  # without an error
    assert "is damaged: the checksum of file/data/" in reason(path)


def test_with_any_byte_changed_a_file_is_refused_or_gives_the_same_weights(path):
    saved(WEIGHTS, path)
    intact = path.read_bytes()
    outcomes = {"refused": 0, "the same weights": 0}
    for at in range(0, len(intact), 3):
        path.write_bytes(intact[:at] + bytes([intact[at] ^ 0x41]) + intact[at + 1 :])
        try:
            assert same(read_weights(path, WEIGHTS)), at
            outcomes["the same weights"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0  # the bytes between tensors are not used


class Malicious:
    """An object that creates a directory when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (os.fspath(self.trace),)


@pytest.mark.parametrize("content", [lambda bad: bad, lambda bad: {"state_dict": WEIGHTS, "hyper_parameters": bad}])
def test_no_code_in_a_file_is_executed(tmp_path, path, content):
    trace = tmp_path / "it-ran"
    saved(content(Malicious(trace)), path)
    assert "contains other objects than tensors and builtins" in reason(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # without `weights_only`, torch executes the code
    assert trace.exists()


def test_no_code_in_a_bare_pickle_is_executed(tmp_path, path):
    trace = tmp_path / "it-ran"
    path.write_bytes(pickle.dumps(Malicious(trace)))
    reason(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"\x80\x02.",
        b"\x80\x02]q\x00.",
        b"N.",
        b"(((",
        b"\x80\x02}q\x00K\x01h\x09s.",
        b"garbage\n" * 10,
        b"\x80\x09N.",
    ],
)
def test_an_archive_with_good_checksums_and_a_broken_pickle_is_refused(path, pickled):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("file/data.pkl", pickled)
        archive.writestr("file/version", "3\n")
        archive.writestr("file/byteorder", "little")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about the protocol of the pickle
        assert reason(path)


@pytest.mark.parametrize("content", [[1, 2], 3.5, "text", torch.ones(2), None])
def test_a_file_without_a_state_dict_is_refused_with_the_type_of_its_content(path, content):
    assert f"contains a {type(content).__name__}, not a state dict" in reason(saved(content, path))


def test_a_file_whose_state_dict_is_no_mapping_is_refused(path):
    assert "not a state dict" in reason(saved({"state_dict": [1]}, path))


def test_weights_of_another_shape_are_refused_with_both_shapes(path):
    wider = WEIGHTS | {"net.weight": torch.ones(2, 4)}
    assert reason(saved(wider, path)).endswith(
        "belongs to another model: net.weight: (2, 4) in the file, (2, 3) in the model"
    )


def test_of_many_differences_the_first_three_are_named(path):
    like = {f"layer.{i}": torch.ones(2) for i in range(9)}
    missing = reason(saved({"layer.0": torch.ones(2)}, path), like)
    assert missing.endswith("has no layer.1, layer.2, layer.3 (8 of 9 parameters are missing)")
    other = reason(saved({name: torch.ones(3) for name in like}, path), like)
    assert other.count("in the file") == 3


def test_a_value_that_is_no_tensor_counts_as_a_missing_parameter(path):
    assert "has no net.bias (1 of 2" in reason(saved(WEIGHTS | {"net.bias": [7.0, 8.0]}, path))


def test_names_that_are_no_strings_are_accepted(path):
    assert same(read_weights(saved(WEIGHTS | {0: torch.ones(1)}, path), WEIGHTS))
