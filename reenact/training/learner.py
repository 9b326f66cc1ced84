"""What training changes: the networks, their moving average, and their optimizers."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reenact.models.discriminator import Discriminator
from reenact.models.family import Model
from reenact.models.precision import allow_tf32, lay_out, resolve_precision
from reenact.settings.training import TrainingSettings
from reenact.training import distributed
from reenact.training.schedule import LRSchedule, constant
from reenact.training.sync_layers import convert_sync_layers

SIDES = ("", "discriminator_")
"""What the names of the optimizers' learning rates and of their gradients' norms begin with."""


@dataclass
class Learner:
    """Everything that training changes, and so everything that a checkpoint holds.

    Attributes:
        reenactor: the networks that drive; parameters that do not require a gradient stay as they are.
        discriminator: None where nothing is learned against one.
        settings: optimizer, learning rates, decay of the moving average, precision and the like.
        schedule: of the learning rates.
        ema: holds the moving average of the reenactor.
        optimizers: of the reenactor and, if there is one, of the discriminator.
        precision: what the networks compute in, fp32, tf32 or bf16. Where the settings leave it to the machine, it is
            known after `prepare`, and in every checkpoint.
        step: steps made.
        seconds: spent on them, in all runs together.
    """

    reenactor: Model
    discriminator: Discriminator | None
    settings: TrainingSettings
    schedule: LRSchedule = constant
    precision: str = field(init=False)
    step: int = 0
    seconds: float = 0.0
    ema: AveragedModel = field(init=False)
    optimizers: tuple[Optimizer, ...] = field(init=False)

    def __post_init__(self) -> None:
        s = self.settings
        self.precision = s.precision
        self.ema = AveragedModel(self.reenactor, multi_avg_fn=get_ema_multi_avg_fn(s.ema))
        self.ema.eval().requires_grad_(False)
        self.ema.n_averaged.fill_(1)  # it begins with these weights; torch's own would begin with those after a step
        # Fused: one pass through memory in place of ten. RAdam has no such kernel.
        optimizer = {"adam": partial(torch.optim.Adam, fused=True), "radam": torch.optim.RAdam}[s.optimizer]
        self.optimizers = tuple(
            optimizer(_parameter_groups(net, rate, s.encoder_learning_rate), betas=(s.beta1, s.beta2), eps=1e-5)
            for net, rate in ((self.reenactor, s.learning_rate), (self.discriminator, s.discriminator_learning_rate))
            if net is not None
        )

    @property
    def average(self) -> Model:
        """The moving average of the reenactor, in evaluation mode."""
        return self.ema.module

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """In the order of checkpoints: the reenactor, the discriminator if there is one, the average."""
        return self.reenactor, *self._against(), self.average

    def _against(self) -> tuple[Discriminator, ...]:
        """The discriminator, if there is one."""
        return () if self.discriminator is None else (self.discriminator,)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers for a checkpoint."""
        return {
            "step": self.step,
            "precision": self.precision,
            "seconds": self.seconds,
            "networks": [network.state_dict() for network in self.networks],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; learning rates and betas stay those of the settings, and so does the
        precision, unless they leave it to the machine on which the run began."""
        if self.settings.precision == "auto":
            self.precision = state.get("precision", "auto")
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        for network, saved in zip(self.networks, state["networks"], strict=True):
            network.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved | {"param_groups": optimizer.state_dict()["param_groups"]})

    def to(self, device: torch.device) -> "Learner":
        """Move the networks to a device, in place."""
        for network in self.networks:
            network.to(device)
        return self

    def prepare(self, device: torch.device) -> None:
        """Get ready for steps: on a device, in the memory format of the settings, with the weights of rank 0."""
        self.to(device)
        able = resolve_precision(self.precision, device)
        # All ranks as the least able one.
        self.precision = "fp32" if distributed.any_rank([able == "fp32"], device)[0] else able
        allow_tf32(self.precision == "tf32")
        convert_sync_layers(self.reenactor)
        parts = dict(self.reenactor.named_children())
        if self.settings.channels_last:
            for network in self.networks:
                lay_out(network)
        share_frozen(self.reenactor, self.average)
        if self.settings.compile:
            for network in (*parts.values(), *self._against()):
                network.compile()
        # Starts are made from the seed alone, but a GPU rounds as it likes.
        distributed.broadcast(tensor for network in self.networks for tensor in network.state_dict().values())

    def learning_rates(self) -> dict[str, float]:
        """Those of the last step, by the names of their settings."""
        return {
            f"{side}learning_rate": optimizer.param_groups[0]["lr"]
            for side, optimizer in zip(SIDES, self.optimizers, strict=False)
        }


def share_frozen(network: nn.Module, average: nn.Module) -> None:
    """Let what does not learn be in memory once: an average's parameters become those of its network, where equal."""
    for own, mean in zip(network.parameters(), average.parameters(), strict=True):
        if not own.requires_grad and torch.equal(own, mean):
            mean.data = own.data


def _parameter_groups(net: nn.Module, rate: float, encoder_rate: float) -> list[dict[str, Any]]:
    """Parameters that learn, those of encoders last and with a learning rate of their own."""
    named = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    groups = []
    for encoders, lr in ((False, rate), (True, encoder_rate)):
        parameters = [parameter for name, parameter in named if ("_encoder." in name) == encoders]
        if parameters:
            groups.append({"params": parameters, "lr": lr, "initial_lr": lr})
    return groups
