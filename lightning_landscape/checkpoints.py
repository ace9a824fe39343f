"""Reading of weights from checkpoint files, without executing code in them, and with a check for damage."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.errors import CheckpointError
from lightning_landscape.surface import Params

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_forward_module.")
"""parts that torch.compile, FSDP and Fabric add to parameter names"""


def read_weights(path: str | Path, like: Params) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint for the parameters in `like`, on the CPU and memory-mapped from the file.

    A `CheckpointError` is raised if the file is missing, damaged, contains other objects than tensors and builtins, or
    belongs to another model; the message names the first differences.

    Args:
        path: a checkpoint of Lightning, or a file with a state dict.
        like: the parameters to read, by name; names and shapes must agree, except for the additions of `torch.compile`,
            FSDP and Fabric to the names.
    """
    path = Path(path)
    return _matching(path, read_content(path), like)


def read_content(path: Path) -> Any:
    """Return the object in a checkpoint file, with its tensors on the CPU and memory-mapped from the file.

    Raises:
        CheckpointError: if the file is missing, damaged, or contains other objects than tensors and builtins.
    """
    if os.path.isdir(path):  # `Path.is_dir` raises for some invalid names
        raise CheckpointError(f"{path} is a directory (a sharded checkpoint?); a single file is needed")
    _check_integrity(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"{path} contains other objects than tensors and builtins, which could execute code: {reason[:200]}"
        ) from error
    except Exception as error:  # a broken or malicious file can make torch.load raise almost any exception
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {type(error).__name__}: {error}") from error


def _check_integrity(path: Path) -> None:
    """Check that the file is a complete archive; `torch.load` would load a tensor with a flipped bit without an error.

    Raises:
        CheckpointError: if the file is missing, is no archive, or has a wrong checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except zipfile.BadZipFile as error:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path} is empty") from error
        raise CheckpointError(
            f"{path} is damaged, or was written by torch before 1.6 without checksums; load and save it again ({error})"
        ) from error
    except Exception as error:
        message = f"{path} is not a readable checkpoint: {type(error).__name__}: {error}"
        raise CheckpointError(message if len(message) < 1000 else f"{message[:1000]} …") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} is wrong")


def _matching(path: Path, content: object, like: Params) -> dict[str, Tensor]:
    """Return the tensors of a state dict that belong to the parameters in `like`, by the names in `like`.

    Raises:
        CheckpointError: if the content is no state dict, or its tensors have other names or shapes.
    """
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} contains a {type(content).__name__}, not a state dict")
    tensors = {plain_name(str(name)): value for name, value in state.items() if isinstance(value, Tensor)}
    plain_names = {name: plain_name(name) for name in like}
    missing = [name for name, plain in plain_names.items() if plain not in tensors]
    if missing:
        raise CheckpointError(
            f"{path} has no {', '.join(missing[:3])} ({len(missing)} of {len(plain_names)} parameters are missing)"
        )
    differences = [
        f"{name}: {in_file} in the file, {in_model} in the model"
        for name, plain in plain_names.items()
        if (in_file := _kind(tensors[plain])) != (in_model := _kind(like[name]))
    ]
    if differences:
        raise CheckpointError(f"{path} belongs to another model: {'; '.join(differences[:3])}")
    return {name: tensors[plain] for name, plain in plain_names.items()}


def _kind(weight: Tensor) -> str:
    """Return what must agree between file and model, as text: shape, layout and kind of number, but not precision."""
    numbers = "complex" if weight.is_complex() else "" if weight.is_floating_point() else str(weight.dtype)
    layout = "" if weight.layout is torch.strided else str(weight.layout)
    return " ".join(filter(None, (str(tuple(weight.shape)), numbers.removeprefix("torch."), layout)))


def plain_name(name: str) -> str:
    """Return the name of a parameter without the parts that wrappers of the module have added.

    >>> plain_name("net._orig_mod.0.weight")
    'net.0.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
