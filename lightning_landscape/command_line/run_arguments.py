"""The arguments that say how to continue a run from a checkpoint: its module, its training data and its Trainer."""

from __future__ import annotations

import ast
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_landscape.command_line.answer import CannotLookError
from lightning_landscape.command_line.named_objects import created, imported, lightning_cli_file, of_class_path

if TYPE_CHECKING:
    from lightning_landscape.from_checkpoint import StoredRun

OF_THE_TRAINER = (
    *("precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("accelerator", "use_distributed_sampler", "detect_anomaly", "limit_train_batches"),
)
"""arguments of the Trainer that are taken from the file of ``--config``"""


def add_module_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments that name the module and its training data."""
    parser.add_argument(
        "--module", metavar="PKG.MOD:CLASS", help="the LightningModule that was trained, or a function that returns it"
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--data", metavar="PKG.MOD:CLASS", help="the LightningDataModule, or a function that returns it")
    data.add_argument("--loader", metavar="PKG.MOD:FUNCTION", help="a function that returns the training DataLoader")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a file of LightningCLI (YAML): model, data and trainer"
    )
    parser.add_argument(
        "--init",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the module, in place of the stored hyperparameter; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for the order of the batches (default: 0)")


def add_run_arguments(parser: ArgumentParser) -> None:
    """Declare all arguments that say how to continue a run."""
    add_module_arguments(parser)
    parser.add_argument("--precision", help="precision of the Trainer, such as 16-mixed (default: that of --config)")
    parser.add_argument("--accumulate", type=int, metavar="N", help="batches in each optimizer step (default: 1)")
    parser.add_argument("--clip", type=float, metavar="NORM", help="gradient_clip_val of the Trainer (default: none)")
    parser.add_argument("--accelerator", default="auto", help="where it is computed, such as cpu (default: auto)")
    parser.add_argument(
        "--horizon", type=int, metavar="STEPS", help="optimizer steps of the whole run, if it was to go on"
    )
    parser.add_argument(
        "--trust", action="store_true", help="load a checkpoint that may execute code when it is read (pickle)"
    )


def run_of(options: Namespace, checkpoint: Path) -> StoredRun:
    """Return the run of a checkpoint, as the options describe it.

    Raises:
        CannotLookError: if an option or the checkpoint cannot be used.
    """
    import torch

    from lightning_landscape.errors import CheckpointError
    from lightning_landscape.from_checkpoint import stored_run

    import_from_here()
    config = lightning_cli_file(options.config)
    make, arguments = _module(options, config)
    torch.manual_seed(options.seed)
    data = _data(options, config)
    if options.horizon is not None and options.horizon < 1:
        raise CannotLookError(f"--horizon must be at least 1 optimizer step, got {options.horizon}")
    try:
        return stored_run(
            checkpoint,
            make,
            data,
            arguments=arguments,
            trainer=_trainer(options, config),
            horizon=options.horizon or _horizon(config),
            seed=options.seed,
            trusted=options.trust,
        )
    except CheckpointError as error:
        raise CannotLookError(_with_trust(str(error))) from error


def module_of(options: Namespace, checkpoint: Path) -> Any:
    """Return the module of a checkpoint with its weights and buffers, on the CPU.

    Raises:
        CannotLookError: if an option or the checkpoint cannot be used.
    """
    from lightning_landscape.errors import CheckpointError
    from lightning_landscape.from_checkpoint import stored_run

    import_from_here()
    make, arguments = _module(options, lightning_cli_file(options.config))
    try:
        run = stored_run(checkpoint, make, None, arguments=arguments)
        run.module.load_state_dict(run.content["state_dict"])
    except CheckpointError as error:
        raise CannotLookError(str(error)) from error
    except Exception as error:  # of the user's module
        raise CannotLookError(f"{checkpoint} does not fit the module: {type(error).__name__}: {error}") from error
    return run.module


def batches_of(options: Namespace) -> list[Any]:
    """Return the first ``--batches`` of the training data, shuffled by ``--seed``.

    Raises:
        CannotLookError: if the data cannot be loaded.
    """
    import torch

    import_from_here()
    data = _data(options, lightning_cli_file(options.config))
    torch.manual_seed(options.seed)
    try:
        if hasattr(data, "train_dataloader"):
            data.prepare_data()
            data.setup("fit")
            data = data.train_dataloader()
        batches = list(islice(data, options.batches))
    except Exception as error:  # the data are the user's
        raise CannotLookError(f"the training data cannot be loaded: {type(error).__name__}: {error}") from error
    if not batches:
        raise CannotLookError("the training data have no batch")
    return batches


def _with_trust(reason: str) -> str:
    """Return the reason, with the option that allows a file to execute code if it was refused for that."""
    refused = "could execute code" in reason
    return f"{reason}; if you trust the one who wrote it, add --trust" if refused else reason


def import_from_here() -> None:
    """Let modules be imported from the working directory, as ``python -m`` does."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)


def _module(options: Namespace, config: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the class of the module, or a function that returns it, and its arguments.

    Raises:
        CannotLookError: if neither ``--module`` nor the file names a module.
    """
    model = config.get("model") or {}
    given = dict(model.get("init_args", {} if "class_path" in model else model))
    if options.module is not None:
        make = imported("--module", options.module)
    elif "class_path" in model:
        make = of_class_path("model", model["class_path"])
    else:
        raise CannotLookError("name the LightningModule with --module package.module:Class")
    if not callable(make):
        raise CannotLookError(f"--module must name a LightningModule class, got {options.module!r}, which is {make!r}")
    return make, {**{name: created(value) for name, value in given.items()}, **_init(options.init)}


def _init(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of ``--init``: Python literals where they are that, else texts.

    Raises:
        CannotLookError: if one has no name.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier():
            raise CannotLookError(f"--init must look like name=value, got {pair!r}")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments


def _data(options: Namespace, config: Mapping[str, Any]) -> Any:
    """Return the DataModule or the training loader.

    Raises:
        CannotLookError: if none is named, or the function fails or returns something else.
    """
    name = options.data or options.loader
    if name is None and "class_path" in (config.get("data") or {}):
        return created(config["data"])
    if name is None:
        raise CannotLookError(
            "name the training data with --data package.module:DataModule or --loader package.module:function"
        )
    option = "--data" if options.data else "--loader"
    make = imported(option, name)
    try:
        data = make()
    except TypeError as error:
        raise CannotLookError(f"{option} {name!r} must be callable without arguments: {error}") from error
    except Exception as error:  # the user's function may raise any error
        raise CannotLookError(f"{option} {name!r} failed: {type(error).__name__}: {error}") from error
    if not hasattr(data, "train_dataloader") and not isinstance(data, Iterable):
        kind = type(data).__name__
        raise CannotLookError(f"{option} {name!r} gives no batches but a value of type {kind}")
    return data


def _trainer(options: Namespace, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the Trainer: those of the file, and in their place those of the options."""
    of_file = config.get("trainer") or {}
    known = {name: of_file[name] for name in OF_THE_TRAINER if of_file.get(name) is not None}
    given = {
        "precision": options.precision,
        "accumulate_grad_batches": options.accumulate,
        "gradient_clip_val": options.clip,
        "accelerator": None if options.accelerator == "auto" and "accelerator" in known else options.accelerator,
    }
    return {**known, **{name: value for name, value in given.items() if value is not None}}


def _horizon(config: Mapping[str, Any]) -> int | None:
    """Return the number of optimizer steps that the file limits the run to; None where it does not say."""
    steps = (config.get("trainer") or {}).get("max_steps")
    return steps if isinstance(steps, int) and steps > 0 else None
