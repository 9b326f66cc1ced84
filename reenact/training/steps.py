"""One training step: the losses of one batch, and the gradients of all networks from one forward pass (section 3 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from reenact.data.samples import Batch
from reenact.models.discriminator import Discriminator, feature_distance
from reenact.training import distributed
from reenact.training.learner import Learner
from reenact.training.losses import ImageLosses, hinge_discriminator, hinge_generator


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


def weighted_losses(
    learner: Learner, batch: Batch, image_losses: ImageLosses
) -> tuple[dict[str, Tensor], Tensor | None]:
    """One forward pass of all networks.

    Returns:
        Every weighted loss term of encoders and generator; and the discriminator's loss, None where its terms have no weight.
    """
    net, judge, weights = learner.reenactor, learner.discriminator, learner.settings.losses
    personal, loss = net.identity_embedding is not None, None
    if personal:
        identity = net.identity_embedding.expand(len(batch.driver), -1)
    else:
        embeddings = net.identity_encoder(batch.identity_frames.flatten(0, 1)).unflatten(
            0, batch.identity_frames.shape[:2]
        )
        identity = embeddings.mean(1)
    # In bfloat16 the networks put out bfloat16; losses are taken in the targets' precision.
    output, matte = (image.to(batch.target.dtype) for image in net.generator(identity, net.pose_encoder(batch.driver)))
    terms = image_losses(output, matte, batch.target, batch.matte, batch.emphasis)
    rows = judge.label_rows(batch.label)
    if weights.adversarial or weights.feature_matching:
        verdict = judge_batch(judge, output, batch.target, rows)
        terms["adversarial"] = hinge_generator(verdict.fake_score)
        terms["feature_matching"] = feature_distance(verdict.fake_maps, verdict.real_maps)
        loss = verdict.loss
    if not personal and weights.embedding_match:
        matched = embeddings[:, 0] if weights.form == "published" else identity
        terms["embedding_match"] = functional.l1_loss(matched, rows.detach())
    return {name: value * getattr(weights, name) for name, value in terms.items()}, loss


def find_gradients(learner: Learner, pieces: Sequence[Batch], image_losses: ImageLosses) -> dict[str, float]:
    """Gradients of encoders and generator, and of the discriminator, from one forward pass of each piece of a batch.

    Args:
        learner: gets the gradients, averaged over pieces and processes; nothing is updated yet.
        pieces: of this process's part of the batch; memory holds one at a time.
        image_losses: terms that compare output and target.

    Returns:
        Means over the whole batch: every weighted loss term of the generator's side, and the discriminator's loss as
        `discriminator`; then the lengths of the gradients (`Learner.share_gradients`).
    """
    learner.clear_gradients()
    found: dict[str, list[Tensor]] = {}
    for batch in pieces:
        with torch.autocast(batch.driver.device.type, torch.bfloat16, enabled=learner.settings.precision == "bf16"):
            terms, judge_loss = weighted_losses(learner, batch, image_losses)
        (torch.stack(list(terms.values())).sum() / len(pieces)).backward()
        if judge_loss is not None:
            (judge_loss / len(pieces)).backward()
            terms["discriminator"] = judge_loss
        for name, value in terms.items():
            found.setdefault(name, []).append(value.detach())
    losses = distributed.all_reduce_mean(torch.stack([torch.stack(values).mean() for values in found.values()]))
    norms = learner.share_gradients()
    numbers = torch.cat([losses, torch.stack(list(norms.values()))]).tolist()  # one wait for the device
    return dict(zip([*found, *norms], numbers))
