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

from reenact.errors import UserError
from reenact.learning.augment import Augmentation
from reenact.learning.checkpoint import RunFolder
from reenact.learning.data import Batch
from reenact.learning.landmark_network import LandmarkNetwork
from reenact.learning.losses import ImageLosses, hinge_discriminator, hinge_generator
from reenact.model import Reenactor
from reenact.networks.discriminator import Discriminator, feature_distance
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
    on_keep: Callable[[int, Reenactor], bool | None] = lambda step, average: None,
    measure: Callable[[Reenactor], dict[str, float]] = lambda average: {},
    landmarks: LandmarkNetwork | None = None,
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
            steps past the checkpoint when a run is resumed. True from it ends the training.
        measure: more statistics about the average, taken at checkpoints.
        landmarks: for the loss of that name.
        device: where to train.
        title: for the progress line.

    Raises:
        UserError: a loss is not finite; names the step, the loss and the clips.
    """
    settings = learner.settings
    for net in (learner.reenactor, learner.discriminator, learner.average):
        net.to(device)
    if settings.channels_last:
        for net in (learner.reenactor.identity_encoder, learner.reenactor.pose_encoder, learner.discriminator):
            net.to(memory_format=torch.channels_last)
    saved = run.latest(steps if resume_at_most is None else resume_at_most)
    if saved:
        learner.load_state(saved[1])
        print(f"{title}: resuming from step {learner.step} of {steps} ({run.path})", flush=True)
    run.start_stats(learner.step)
    augment = Augmentation(settings.augment).to(device)
    image_losses = ImageLosses(settings, landmarks).to(device)
    for line in image_losses.described:
        print(f"{title}: {line}", flush=True)

    for step in tqdm(range(learner.step + 1, steps + 1), initial=learner.step, total=steps, desc=title, mininterval=5):
        started = time.monotonic()
        torch.manual_seed(settings.seed * 1_000_003 + step)
        batch = augment(batches(step).to(device))
        losses = training_step(learner, batch, image_losses)
        _check_finite(losses, step, batch, names)
        learner.update_average()
        learner.step = step
        enough = step in keep and bool(on_keep(step, learner.average))
        at_checkpoint = step % settings.checkpoint_every == 0 or step == steps or enough
        extra = measure(learner.average) if at_checkpoint else {}
        run.add_stats({"step": step, **losses, **extra, "seconds": time.monotonic() - started})
        if at_checkpoint:
            run.save(step, learner.state())
        if enough:
            return


@dataclass(frozen=True)
class Verdict:
    """What the discriminator says about one batch, from one state of its weights.

    Attributes:
        fake_score, fake_maps: of the generator's output, for the generator: gradients reach the image, not the weights.
        real_maps: of the targets, without gradient.
        loss: of the discriminator.
    """

    fake_score: Tensor
    fake_maps: list[Tensor]
    real_maps: list[Tensor]
    loss: Tensor


def judge_batch(judge: Discriminator, output: Tensor, target: Tensor, rows: Tensor) -> Verdict:
    """Three passes in the authors' order, each of which moves the spectral norms on by one power iteration.

    Args:
        judge: the discriminator.
        output, target: B x 3 x H x W.
        rows: of the batch's labels, B x features; as published, only the true images teach them.
    """
    judge.requires_grad_(False)
    fake_score, fake_maps = judge(output, rows.detach())
    judge.requires_grad_(True)
    fake, _ = judge(output.detach(), rows.detach())
    real, real_maps = judge(target, rows)
    return Verdict(fake_score, fake_maps, [m.detach() for m in real_maps], hinge_discriminator(fake, real))


def weighted_losses(learner: Learner, batch: Batch, image_losses: ImageLosses) -> tuple[dict[str, Tensor], Tensor | None]:
    """One forward pass of all networks.

    Returns:
        Every weighted loss term of encoders and generator; and the discriminator's loss, None where its terms have no weight.
    """
    net, judge, weights = learner.reenactor, learner.discriminator, learner.settings.losses
    personal, loss = net.identity_embedding is not None, None
    if personal:
        identity = net.identity_embedding.expand(len(batch.driver), -1)
    else:
        embeddings = net.identity_encoder(batch.identity_frames.flatten(0, 1)).unflatten(0, batch.identity_frames.shape[:2])
        identity = embeddings.mean(1)
    output, matte = (image.float() for image in net.generator(identity, net.pose_encoder(batch.driver)))
    terms = image_losses(output, matte, batch.target, batch.matte, batch.emphasis)
    rows = judge.label_rows(batch.label)
    if weights.adversarial or weights.feature_matching:
        verdict = judge_batch(judge, output, batch.target, rows)
        terms["adversarial"] = hinge_generator(verdict.fake_score)
        terms["feature_matching"] = feature_distance(verdict.fake_maps, verdict.real_maps)
        loss = verdict.loss
    if weights.embedding_match and not personal:
        matched = embeddings[:, 0] if weights.form == "published" else identity
        terms["embedding_match"] = functional.l1_loss(matched, rows.detach())
    return {name: value * getattr(weights, name) for name, value in terms.items()}, loss


def training_step(learner: Learner, batch: Batch, image_losses: ImageLosses) -> dict[str, float]:
    """One update of encoders and generator, and one of the discriminator, from one forward pass.

    Returns:
        Every weighted loss term of the generator's side, and the discriminator's loss as `discriminator`.
    """
    with torch.autocast(batch.driver.device.type, torch.bfloat16, enabled=learner.settings.precision == "bf16"):
        terms, judge_loss = weighted_losses(learner, batch, image_losses)
    _update(learner.optimizers[0], torch.stack(list(terms.values())).sum())
    if judge_loss is not None:
        _update(learner.optimizers[1], judge_loss)
        terms["discriminator"] = judge_loss
    return {name: value.item() for name, value in terms.items()}


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
