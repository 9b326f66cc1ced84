"""The published way of training and driving, step by step, written down plainly.

Networks and losses are those of `tests/support/published_reference.py`, which the tests hold to the authors' own
numbers. Here they are used as the authors' program does: float32, maps with the channels first, spectral norms on every
pass, three passes of the discriminator a step, gradients of the discriminator in the generator's step that are thrown
away, torch's Adam (meta-learning) or RAdam (fine-tuning), an average of the weights tensor by tensor, driving frame by
frame. What `reenact` is compared with in docs/performance.md.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

import published_reference as published

State = dict[str, Tensor]
RATES = {"meta": (5e-5, 2e-4), "finetuned": (5e-4, 8e-4)}
AVERAGES = {"meta": 0.999, "finetuned": 0.972}


class Training:
    """The published iteration.

    Args:
        states: of embedder, generator and discriminator, in the authors' names.
        vggs: weights and biases of the 13 convolutions of vgg19 and vgg16.
    """

    def __init__(self, states: dict[str, State], vggs: dict[str, list[tuple[Tensor, Tensor]]]) -> None:
        self.form = "finetuned" if "identity_embedding" in states["generator"] else "meta"
        self.vggs = vggs
        own = {name: {k: v.clone() for k, v in state.items()} for name, state in states.items()}
        self.nets = {name: published.Part(state, train=True) for name, state in own.items()}
        self.averages = {name: {k: v.clone() for k, v in states[name].items()} for name in ("embedder", "generator")}
        sides = (("generator",) if self.form == "finetuned" else ("generator", "embedder"), ("discriminator",))
        optimizer = torch.optim.RAdam if self.form == "finetuned" else torch.optim.Adam
        self.optimizers = []
        for names, rate in zip(sides, RATES[self.form], strict=True):
            weights = [self.nets[name].state[k] for name in names for k in published.trained(self.nets[name].state)]
            for weight in weights:
                weight.requires_grad_(True)
            self.optimizers.append(optimizer(weights, lr=rate, betas=(0.0, 0.999), eps=1e-5))

    def step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One iteration; every weighted loss.

        Args:
            batch: enc_rgbs B x K x 3 x H x W, pose_rgbs and target_rgbs B x 3 x H x W, mask B x 1 x H x W, label B.
        """
        found = published.forward(self.nets, self.vggs, batch)
        generator, discriminator = self.optimizers
        generator.zero_grad()
        sum(found["losses"].values()).backward(retain_graph=True)
        generator.step()
        discriminator.zero_grad()  # the generator's losses left gradients here
        found["loss_D"].backward()
        discriminator.step()
        self._average()
        return {name: value.item() for name, value in {**found["losses"], "adversarial_D": found["loss_D"]}.items()}

    @torch.no_grad()
    def _average(self) -> None:
        decay = AVERAGES[self.form]
        for name, average in self.averages.items():
            state = self.nets[name].state
            trained = set(published.trained(state))
            for key, value in state.items():
                average[key] = average[key] * decay + value * (1 - decay) if key in trained else value.clone()


@torch.no_grad()
def drive(states: dict[str, State], identity: Tensor, frames: Tensor) -> Tensor:
    """Frames N x 3 x H x H, one by one -> pictures N x 3 x H x H; identity 1 x I."""
    nets = {name: published.Part(state) for name, state in states.items()}
    made = []
    for frame in frames.split(1):
        pose = published.pose_encoder(nets["embedder"], frame)
        made.append(published.generator(nets["generator"], identity, pose)[0])
    return torch.cat(made)
