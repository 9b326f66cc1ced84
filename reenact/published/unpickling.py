"""An unpickler that makes nothing but what the authors' checkpoints are made of. Given to `torch.load` as its pickle
module.

`weights_only=True` cannot read these files: they were written with pickle protocol 5 and hold an argparse.Namespace
with paths in it.
"""

import argparse
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, Any

import torch
from torch import Tensor


class Arguments(argparse.Namespace):
    """The command-line arguments of a checkpoint: names and values, nothing else."""


def _rebuild_tensor(*arguments: Any) -> Tensor:
    return torch._utils._rebuild_tensor_v2(*arguments)


# Paths become pure ones, which touch no file system. Python 3.13 pickles them under another module.
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("argparse", "Namespace"): Arguments,
    ("collections", "OrderedDict"): OrderedDict,
    ("pathlib", "PosixPath"): PurePosixPath,
    ("pathlib", "WindowsPath"): PureWindowsPath,
    ("pathlib._local", "PosixPath"): PurePosixPath,
    ("pathlib._local", "WindowsPath"): PureWindowsPath,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
}
"""What a pickle may ask for. The classes of tensor storages come on top; torch reads those by itself."""


class ForbiddenGlobal(pickle.UnpicklingError):
    """A pickle asks for something outside of the list; the message is its name."""


class Unpickler(pickle.Unpickler):
    """Reads pickles that ask for nothing outside of `ALLOWED`."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """What `module.name` stands for.

        Raises:
            ForbiddenGlobal: it is not in the list.
        """
        if (module, name) not in ALLOWED:
            raise ForbiddenGlobal(f"{module}.{name}")
        return ALLOWED[module, name]


def load(file: IO[bytes], **options: Any) -> Any:
    """Read one pickle; `torch.load` calls it for files of the time before its ZIP format."""
    return Unpickler(file, **options).load()
