"""Where networks run: what is asked for and there, or one clear message."""

import pytest
import torch

from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device: 'gpu'; allowed: auto, cpu, cuda"):
        pick_device("gpu")
    with pytest.raises(UserError, match="device: 'cuda:99' is not there"):
        pick_device("cuda:99")
