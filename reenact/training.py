"""The training loop that meta-learning and fine-tuning share (section 3 of the paper)."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from tqdm import tqdm

from reenact.augment import Augmentation
from reenact.checkpoint import RunFolder
from reenact.data import Batch
from reenact.errors import UserError
from reenact.losses import dice, hinge_discriminator, hinge_generator
from reenact.model import Reenactor
from reenact.networks.discriminator import Discriminator, feature_distance
from reenact.networks.vgg import PerceptualNetwork, perceptual_loss
from reenact.settings.training import TrainingSettings


@dataclass
class Learner:
    """Everything that training changes, and so everything that a checkpoint holds.

    Attributes:
        reenactor, discriminator: the networks; parameters that do not require a gradient stay as they are.
        average: moving average of the reenactor.
        optimizers: of the reenactor and of the discriminator.
        step: steps made.
    """

    reenactor: Reenactor
    discriminator: Discriminator
    settings: TrainingSettings
    step: int = 0
    average: Reenactor = field(init=False)
    optimizers: tuple[Optimizer, Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        self.average = copy.deepcopy(self.reenactor).eval().requires_grad_(False)
        s = self.settings
        kind = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}[s.optimizer]
        rates = (s.learning_rate, s.discriminator_learning_rate)
        self.optimizers = tuple(
            kind([p for p in net.parameters() if p.requires_grad], lr=rate, betas=(s.beta1, 0.999), eps=1e-5)
            for net, rate in zip((self.reenactor, self.discriminator), rates)
        )

    def state(self) -> dict[str, Any]:
        """Plain tensors and numbers for a checkpoint."""
        return {
            "step": self.step,
            "networks": [m.state_dict() for m in (self.reenactor, self.discriminator, self.average)],
            "optimizers": [o.state_dict() for o in self.optimizers],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.step = state["step"]
        for module, saved in zip((self.reenactor, self.discriminator, self.average), state["networks"]):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)

    @torch.no_grad()
    def update_average(self) -> None:
        """One step of the moving average; buffers are copied, as published."""
        for mean, new in zip(self.average.parameters(), self.reenactor.parameters()):
            if new.requires_grad:
                mean.lerp_(new, 1 - self.settings.ema)
        for mean, new in zip(self.average.buffers(), self.reenactor.buffers()):
            mean.copy_(new)


def train(
    learner: Learner,
    batches: Callable[[int], Batch],
    run: RunFolder,
    *,
    names: Sequence[str],
    steps: int,
    resume_at_most: int | None = None,
    keep: Sequence[int] = (),
    on_keep: Callable[[int, Reenactor], None] = lambda step, average: None,
    measure: Callable[[Reenactor], dict[str, float]] = lambda average: {},
    device: torch.device,
    title: str = "training",
) -> None:
    """Train up to `steps`, going on from the run folder's last checkpoint.

    All that is random in a step follows from the seed and the step's number, and optimizers and averages are
    in the checkpoint, so a run that was killed and goes on gives the same weights as one that was not.

    Args:
        learner: networks and optimizers at their start.
        batches: step -> samples, always the same for the same step.
        run: where checkpoints and statistics go.
        names: of the clips, by label, for messages.
        steps: number of the last step.
        resume_at_most: checkpoints past this step are not used.
        keep, on_keep: after each of these steps `on_keep(step, average)` is called; it is called again for
            steps past the checkpoint when a run is resumed.
        measure: more statistics about the average, taken at checkpoints.
        device: where to train.
        title: for the progress line.

    Raises:
        UserError: a loss is not finite; names the step, the loss and the clips.
    """
    settings = learner.settings
    for net in (learner.reenactor, learner.discriminator, learner.average):
        net.to(device)
    saved = run.latest(steps if resume_at_most is None else resume_at_most)
    if saved:
        learner.load_state(saved[1])
        print(f"{title}: resuming from step {learner.step} of {steps} ({run.path})", flush=True)
    run.start_stats(learner.step)
    augment = Augmentation(settings.augment).to(device)
    perceptual = PerceptualNetwork(settings.perceptual_width).to(device)

    for step in tqdm(range(learner.step + 1, steps + 1), initial=learner.step, total=steps, desc=title, mininterval=5):
        started = time.monotonic()
        torch.manual_seed(settings.seed * 1_000_003 + step)
        batch = augment(batches(step).to(device))
        losses, output = generator_step(learner, batch, perceptual)
        losses |= discriminator_step(learner, batch, output)
        _check_finite(losses, step, batch, names)
        learner.update_average()
        learner.step = step
        if step in keep:
            on_keep(step, learner.average)
        at_checkpoint = step % settings.checkpoint_every == 0 or step == steps
        extra = measure(learner.average) if at_checkpoint else {}
        run.add_stats({"step": step, **losses, **extra, "seconds": time.monotonic() - started})
        if at_checkpoint:
            run.save(step, learner.state())


def generator_step(
    learner: Learner, batch: Batch, perceptual: PerceptualNetwork
) -> tuple[dict[str, float], Tensor]:
    """One update of encoders and generator. Returns every weighted loss term, and the output B x 3 x H x W, detached."""
    net, judge, weights = learner.reenactor, learner.discriminator, learner.settings.losses
    identity = net.identity(batch.identity_frames) if net.identity_embedding is None else net.identity_embedding
    output, matte = net.generator(identity.expand(len(batch.driver), -1), net.pose_encoder(batch.driver))
    judge.requires_grad_(False)
    terms: dict[str, Tensor] = {}
    if weights.adversarial or weights.feature_matching:
        score, fake_maps = judge(output, batch.label)
        with torch.no_grad():
            real_maps = judge(batch.target, batch.label)[1]
        terms["adversarial"] = hinge_generator(score)
        terms["feature_matching"] = feature_distance(fake_maps, real_maps)
    if weights.perceptual:
        terms["perceptual"] = perceptual_loss(perceptual, output, batch.target)
    if weights.embedding_match and net.identity_embedding is None:
        terms["embedding_match"] = functional.l1_loss(identity, judge.label_rows(batch.label))
    if weights.pixel:
        terms["pixel"] = functional.l1_loss(output, batch.target)
    if weights.dice:
        terms["dice"] = dice(matte, batch.matte)
    judge.requires_grad_(True)
    weighted = {name: value * getattr(weights, name) for name, value in terms.items()}
    _update(learner.optimizers[0], torch.stack(list(weighted.values())).sum())
    return {name: value.item() for name, value in weighted.items()}, output.detach()


def discriminator_step(learner: Learner, batch: Batch, output: Tensor) -> dict[str, float]:
    """One update of the discriminator on the targets and the generator's output. Returns its loss."""
    weights = learner.settings.losses
    if not (weights.adversarial or weights.feature_matching):
        return {}
    fake, _ = learner.discriminator(output, batch.label)
    real, _ = learner.discriminator(batch.target, batch.label)
    loss = hinge_discriminator(fake, real)
    _update(learner.optimizers[1], loss)
    return {"discriminator": loss.item()}


def _update(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _check_finite(losses: dict[str, float], step: int, batch: Batch, names: Sequence[str]) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        clips = ", ".join(sorted({names[label] for label in batch.label.tolist()}))
        raise UserError(
            f"step {step}: loss {', '.join(bad)} is not finite, on clips {clips}; "
            "lower the learning rate, or go on from the last checkpoint with another seed"
        )


@torch.no_grad()
def pose_response(outputs: Tensor, targets: Tensor) -> float:
    """How much outputs for different drivers differ, as a share of how much the true frames differ.

    Near 0 is pose collapse: identity explains the picture and every driver gives the same one, while all
    losses still look fine.

    Args:
        outputs, targets: N x 3 x H x W, one person, N driving frames.
    """
    spreads = [(images - images.mean(0)).abs().mean() for images in (outputs, targets)]
    return (spreads[0] / spreads[1].clamp_min(1e-6)).item()
