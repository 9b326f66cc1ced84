"""What the constant family learns by (section 3 of the paper)."""

from torch import Tensor
from torch.nn import functional

from reenact.data.augment import Augmentation
from reenact.data.samples import Batch
from reenact.models.discriminator import feature_distance
from reenact.settings.training import TrainingSettings
from reenact.training.learner import Learner
from reenact.training.losses import ImageLosses, hinge_discriminator, hinge_generator
from reenact.training.objective import Objective


class AdversarialObjective(Objective[Batch]):
    """Images as the true ones, to perceptual networks and to a discriminator.

    Args:
        settings: weights of the losses, and augmentation.
        image_losses: terms that compare output and target; None = those of the settings.
    """

    def __init__(self, settings: TrainingSettings, image_losses: ImageLosses | None = None) -> None:
        super().__init__()
        self.augmentation = Augmentation(settings.augment)
        self.image_losses = image_losses or ImageLosses(settings)
        self.described = self.image_losses.described

    def augment(self, batch: Batch) -> Batch:
        """See `Augmentation`."""
        return self.augmentation(batch)

    def forward(self, learner: Learner, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """See `Objective`."""
        net, discriminator, weights = learner.reenactor, learner.discriminator, learner.settings.losses
        assert discriminator is not None
        own, discriminator_loss = net.identity_embedding, None
        if own is not None:
            identity = own.expand(len(batch.driver), -1)
        else:
            embeddings = net.embed(batch.identity_frames)  # B x K x I
            identity = embeddings.mean(1)
        output, matte = net.generator(identity, net.pose_encoder(batch.driver))
        # In bfloat16 the networks put out bfloat16; losses are taken in the targets' precision.
        output, matte = output.to(batch.target.dtype), matte.to(batch.target.dtype)
        terms = self.image_losses(output, matte, batch.target, batch.matte, batch.emphasis)

        # As published, only the true images teach the label rows, and each pass, in the authors' order, moves the
        # spectral norms on by one power iteration.
        rows = discriminator.label_rows(batch.label)
        if weights.adversarial or weights.feature_matching:
            discriminator.requires_grad_(False)  # gradients of the generator's side reach the image, not these weights
            fake_score, fake_maps = discriminator(output, rows.detach())
            discriminator.requires_grad_(True)
            fake_score_alone, _ = discriminator(output.detach(), rows.detach())
            real_score, real_maps = discriminator(batch.target, rows)
            terms["adversarial"] = hinge_generator(fake_score)
            terms["feature_matching"] = feature_distance(fake_maps, real_maps)
            discriminator_loss = hinge_discriminator(fake_score_alone, real_score)
        if own is None and getattr(weights, "embedding_match", None):  # a weight of meta-learning alone
            matched = embeddings[:, 0] if weights.form == "published" else identity
            terms["embedding_match"] = functional.l1_loss(matched, rows.detach())
        return {name: value * getattr(weights, name) for name, value in terms.items()}, discriminator_loss
