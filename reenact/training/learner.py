"""What training changes: the networks, their moving average, and their optimizers."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reenact.models.discriminator import Discriminator
from reenact.models.reenactor import Reenactor
from reenact.settings.training import TrainingSettings
from reenact.training import distributed
from reenact.training.shared_layers import share_layers


def _groups(net: nn.Module, rate: float, encoder_rate: float) -> list[dict[str, Any]]:
    """Parameters that learn, those of encoders with a learning rate of their own."""
    named = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    parts = [[p for name, p in named if ("_encoder." in name) == encoders] for encoders in (False, True)]
    return [{"params": part, "lr": lr, "full_rate": lr} for part, lr in zip(parts, (rate, encoder_rate)) if part]


@dataclass
class Learner:
    """Everything that training changes, and so everything that a checkpoint holds.

    Attributes:
        reenactor, discriminator: the networks; parameters that do not require a gradient stay as they are.
        average: moving average of the reenactor.
        optimizers: of the reenactor and of the discriminator.
        step: steps made.
        seconds: spent on them, in all runs together.
    """

    reenactor: Reenactor
    discriminator: Discriminator
    settings: TrainingSettings
    step: int = 0
    seconds: float = 0.0
    average: Reenactor = field(init=False)
    optimizers: tuple[Optimizer, Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        self.average = copy.deepcopy(self.reenactor).eval().requires_grad_(False)
        s = self.settings
        kind = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}[s.optimizer]
        rates = (s.learning_rate, s.discriminator_learning_rate)
        self.optimizers = tuple(
            kind(_groups(net, rate, s.encoder_learning_rate), betas=(s.beta1, 0.999), eps=1e-5)
            for net, rate in zip((self.reenactor, self.discriminator), rates)
        )

    @property
    def networks(self) -> tuple[Reenactor, Discriminator, Reenactor]:
        """In the order of checkpoints."""
        return self.reenactor, self.discriminator, self.average

    def state(self) -> dict[str, Any]:
        """Plain tensors and numbers for a checkpoint."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "networks": [m.state_dict() for m in self.networks],
            "optimizers": [o.state_dict() for o in self.optimizers],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; learning rates and betas stay those of the settings."""
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        for module, saved in zip(self.networks, state["networks"]):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved | {"param_groups": optimizer.state_dict()["param_groups"]})

    def settle(self, device: torch.device) -> None:
        """Move to a device, in the memory format that the settings say, and share the batch with the other processes."""
        for net in self.networks:
            net.to(device)
        share_layers(self.reenactor)
        if self.settings.channels_last:
            for net in (self.reenactor.identity_encoder, self.reenactor.pose_encoder, self.discriminator):
                net.to(memory_format=torch.channels_last)
        if self.settings.compile:
            for net in (
                self.reenactor.identity_encoder,
                self.reenactor.pose_encoder,
                self.reenactor.generator,
                self.discriminator,
            ):
                net.compile()
        # Starts are made from the seed alone, but a GPU rounds as it likes.
        distributed.broadcast(tensor for net in self.networks for tensor in net.state_dict().values())

    def rates(self) -> dict[str, float]:
        """Learning rates of the last step, by the names of their settings."""
        names = ("learning_rate", "discriminator_learning_rate")
        return {name: optimizer.param_groups[0]["lr"] for name, optimizer in zip(names, self.optimizers)}

    def clear_gradients(self) -> None:
        """Forget the gradients of the step before."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def share_gradients(self) -> dict[str, Tensor]:
        """Average the gradients over processes; returns their length (2-norm), of both sides."""
        norms = {}
        for name, optimizer in zip(("gradient_norm", "discriminator_gradient_norm"), self.optimizers):
            parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if parameters:
                distributed.average_gradients(parameters)
                norms[name] = nn.utils.get_total_norm([p.grad for p in parameters])
        return norms

    @torch.no_grad()
    def update(self) -> None:
        """One step of both optimizers, at its learning rates, then of the moving average; buffers of the average are copied, as published."""
        share = self.settings.rate(self.step + 1)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["full_rate"]
            optimizer.step()
        for mean, new in zip(self.average.parameters(), self.reenactor.parameters()):
            mean.lerp_(new, 1 - self.settings.ema)
        for mean, new in zip(self.average.buffers(), self.reenactor.buffers()):
            mean.copy_(new)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode, whose parts go back to the modes that they were in."""
    modes = {module: module.training for module in net.modules()}
    try:
        yield net.eval()
    finally:
        for module, training in modes.items():
            module.training = training
