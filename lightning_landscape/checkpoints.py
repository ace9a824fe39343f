"""Read the weights of a checkpoint file, whatever it is: nothing in it is executed, and damage is noticed."""

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
"""what torch.compile, FSDP and Fabric put into parameter names"""


def read_weights(path: str | Path, like: Params) -> dict[str, Tensor]:
    """The tensors of the checkpoint at `path` for exactly the parameters of `like`, on the CPU, mapped from the file.

    Args:
        path: a checkpoint of Lightning, or a file that holds a state dict.
        like: the parameters to look for; names and shapes must agree, `torch.compile` and FSDP prefixes aside.

    A `CheckpointError` is raised if the file is missing, damaged, holds other objects than tensors and builtins, or
    belongs to another model; the message names the first differences.
    """
    path = Path(path)
    return _matching(path, read_content(path), like)


def read_content(path: Path) -> Any:
    """All that the file at `path` holds, tensors mapped from it.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds other objects than tensors and builtins.
    """
    if os.path.isdir(path):  # of a name that no file can have, `Path.is_dir` raises
        raise CheckpointError(f"{path} is a directory (a sharded checkpoint?); a single file is needed")
    _check_integrity(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        first = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path} holds objects that are not loaded from a file: {first[:200]}") from error
    except Exception as error:  # what a hostile or broken file makes the reader raise has no end
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {type(error).__name__}: {error}") from error


def _check_integrity(path: Path) -> None:
    # A flipped byte in a tensor loads without a word; the archive's own checksums notice it.
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
        said = f"{path} is not a readable checkpoint: {type(error).__name__}: {error}"
        raise CheckpointError(said if len(said) < 1000 else f"{said[:1000]} …") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} does not hold")


def _matching(path: Path, content: Any, like: Params) -> dict[str, Tensor]:
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict")
    found = {plain_name(str(name)): value for name, value in state.items() if isinstance(value, Tensor)}
    wanted = {name: plain_name(name) for name in like}
    missing = [name for name, plain in wanted.items() if plain not in found]
    if missing:
        raise CheckpointError(
            f"{path} has no {', '.join(missing[:3])} ({len(missing)} of {len(wanted)} parameters missing)"
        )
    other = [
        f"{name}: {in_file} in the file, {in_model} in the model"
        for name, plain in wanted.items()
        if (in_file := _kind(found[plain])) != (in_model := _kind(like[name]))
    ]
    if other:
        raise CheckpointError(f"{path} belongs to another model: {'; '.join(other[:3])}")
    return {name: found[plain] for name, plain in wanted.items()}


def _kind(weight: Tensor) -> str:
    """What has to agree: the shape, and the kind of numbers; their precision does not."""
    numbers = "complex" if weight.is_complex() else "" if weight.is_floating_point() else str(weight.dtype)
    layout = "" if weight.layout is torch.strided else str(weight.layout)
    return " ".join(filter(None, (str(tuple(weight.shape)), numbers.removeprefix("torch."), layout)))


def plain_name(name: str) -> str:
    """The parameter's name without what wrappers put into it.

    >>> plain_name("net._orig_mod.0.weight")
    'net.0.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
