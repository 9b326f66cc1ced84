"""The pose encoder of the warping family learns what faces do, before anything else learns from it.

Blendshapes are nearly free of identity by definition and exist for a single picture: people of whom there is one photo
teach expression too, which differences between two frames of one person cannot.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.data.expressions import MEASURES, ExpressionSamples
from reenact.faces.blendshapes import BLENDSHAPES
from reenact.models.face_encoder import FaceEncoder
from reenact.models.precision import resolve_precision
from reenact.runtime.progress import progress
from reenact.settings.pretrain import PretrainSettings
from reenact.training.checkpoint import RunFolder

HEAD_RATE = 2e-3
"""Learning rate of the head and the readout, which begin at random."""
HEAD_STEPS, RISE = 60, 100
"""Steps in which the head learns alone, and those after them in which the trunk's learning rate rises."""
WEIGHT_DECAY = 0.01
_MEASURED = 256
"""Frames by which the scale of features and descriptors is measured."""
WEIGHTS = torch.tensor(
    [1 / len(BLENDSHAPES)] * len(BLENDSHAPES)
    + [0.30, 0.22, 0.22, 0.15, 0.15, 0.15]  # openings, brows
    + [0.22, 0.22, 0.22, 0.11, 0.11, 0.11]  # angles, place and size
)
"""Of the errors of `MEASURES`."""


def measure_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of normalised measures, B x 64: smooth L1, weighted by `WEIGHTS`."""
    error = functional.smooth_l1_loss(found, wanted, reduction="none", beta=0.3)
    return (error.mean(0) * WEIGHTS.to(error.device)).sum()


class EncoderTraining:
    """An encoder, its readout, and their optimizer.

    Args:
        encoder: with a trunk that has learned to see faces.
        samples: to learn from.
        settings: of the stage.
    """

    def __init__(self, encoder: FaceEncoder, samples: ExpressionSamples, settings: PretrainSettings) -> None:
        self.encoder, self.step = encoder, 0
        self._samples, self._settings = samples, settings
        device = next(encoder.parameters()).device
        self._precision = resolve_precision(settings.precision, device)
        last = encoder.head[-1]
        assert isinstance(last, nn.Linear)
        self.readout = nn.Linear(last.out_features, len(MEASURES)).to(device)
        groups = [[*encoder.trunk.parameters()], [*encoder.head.parameters(), *self.readout.parameters()]]
        self._optimizer = torch.optim.AdamW(
            [{"params": parameters} for parameters in groups], weight_decay=WEIGHT_DECAY
        )

    def train(self, run: RunFolder) -> None:
        """Train to the end, from the run folder's last checkpoint; checkpoints and statistics go there."""
        settings = self._settings
        if found := run.latest(settings.steps):
            self.step, state = found
            self._precision = state.get("precision", self._precision)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        else:
            with torch.no_grad():
                self.encoder.normalise_features(self._measured(self.encoder.features))
        run.start(self.step)
        print(f"pretrain: precision {self._precision}", flush=True)
        for step in progress(range(self.step, settings.steps), settings.steps - self.step, "pretrain", unit="step"):
            run.add_stats({"step": step + 1, "loss": self._make_step(step)})
            self.step = step + 1
            if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                parts = {name: part.state_dict() for name, part in self._parts().items()}
                run.save(self.step, {**parts, "precision": self._precision})
        self.encoder.eval()

    @torch.no_grad()
    def readout_in_units(self) -> nn.Linear:
        """The readout, of what its measures are in place of what they are in units of their spread."""
        factor, summand = self._samples.scale()
        readout = nn.Linear(self.readout.in_features, self.readout.out_features)
        readout.weight.copy_(self.readout.weight.cpu() * factor[:, None])
        readout.bias.copy_(self.readout.bias.cpu() * factor + summand)
        return readout

    def _make_step(self, step: int) -> float:
        """The step after `step` steps; gives its loss. All that is random follows from the seed and the number."""
        settings = self._settings
        frames, wanted = self._samples.draw(settings.batch_size, settings.seed * 1_000_003 + step)
        fall = 0.5 + 0.5 * math.cos(math.pi * step / settings.steps)
        rates = settings.learning_rate * min(1.0, max(0, step - HEAD_STEPS) / RISE), HEAD_RATE * min(1, step / 50)
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * fall
        with (
            torch.set_grad_enabled(step >= HEAD_STEPS),
            torch.autocast(frames.device.type, torch.bfloat16, enabled=self._precision == "bf16"),
        ):
            features = self.encoder.features(_laid_out(frames))
        loss = measure_distance(self.readout(self.encoder.head(features.float())), wanted)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in self._optimizer.param_groups for p in group["params"]], 2.0)
        self._optimizer.step()
        return loss.item()

    def _measured(self, network: Callable[[Tensor], Tensor]) -> Tensor:
        """What a network makes of some frames: N x C."""
        frames = self._samples.draw(_MEASURED, self._settings.seed)[0]
        return torch.cat([network(_laid_out(part)) for part in frames.split(32)])

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"encoder": self.encoder, "readout": self.readout, "optimizer": self._optimizer}


def _laid_out(frames: Tensor) -> Tensor:
    """B x 3 x S x S with the channels last in memory: the trunk's many small convolutions are a third faster so."""
    return frames.contiguous(memory_format=torch.channels_last)
