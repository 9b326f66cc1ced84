"""The published networks, losses and training step again: plain functions on state dicts with the authors' names.

Written from DESIGN.md's facts, not from `reenact`: nothing is shared with it but torch. `test_parity` checks it against
the authors' own numbers where they are at hand, and it made `fixtures/parity_small.npz`, so that a clone without them
still has numbers from outside of `reenact`. Written to be read, not to be fast.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.functional import avg_pool2d, conv2d, interpolate, l1_loss, linear, normalize, relu

CAFFE_MEAN = (103.939, 116.779, 123.680)
VGG_POOLS = {"vgg19": (2, 4, 8, 12), "vgg16": (2, 4, 7, 10)}  # a pooling follows this many convolutions
WEIGHTS = {"VGG": 3e-2, "VGGFace": 6e-3, "feature_matching": 10.0, "embedding_matching": 1e-2}


class Part:
    """One network's state dict, and whether it is in training mode."""

    def __init__(self, state, train=False):
        self.state, self.train = state, train

    def has(self, key):
        return any(name.startswith(key) for name in self.state)

    def weight(self, name, eps=1e-4):
        """A weight as it is, or under spectral norm in torch's old form: v, then u, then the norm."""
        if f"{name}.weight" in self.state:
            return self.state[f"{name}.weight"]
        w, u, v = (self.state[f"{name}.weight_{part}"] for part in ("orig", "u", "v"))
        matrix = w.flatten(1)
        if self.train:
            with torch.no_grad():
                v = normalize(matrix.T @ u, dim=0, eps=eps)
                u = normalize(matrix @ v, dim=0, eps=eps)
                self.state[f"{name}.weight_u"], self.state[f"{name}.weight_v"] = u, v
        return w / (u @ (matrix @ v))

    def conv(self, x, name, stride=1):
        w = self.weight(name)
        return conv2d(x, w, self.state.get(f"{name}.bias"), stride, w.shape[-1] // 2, groups=x.shape[1] // w.shape[1])

    def norm(self, x, name):
        s = self.state
        return F.batch_norm(
            x, s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"], self.train
        )


def identity_encoder(net, x):
    x = relu(net.norm(net.conv(x, "identity_encoder.conv1", 2), "identity_encoder.bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer in range(1, 5):
        block = 0
        while net.has(name := f"identity_encoder.layer{layer}.{block}."):
            stride = 2 if layer > 1 and block == 0 else 1
            short = x
            if net.has(f"{name}downsample"):
                short = net.norm(net.conv(x, f"{name}downsample.0", stride), f"{name}downsample.1")
            y = relu(net.norm(net.conv(x, f"{name}conv1"), f"{name}bn1"))
            y = relu(net.norm(net.conv(y, f"{name}conv2", stride), f"{name}bn2"))
            x = relu(net.norm(net.conv(y, f"{name}conv3"), f"{name}bn3") + short)
            block += 1
    x = F.adaptive_avg_pool2d(x, 1).flatten(1)
    return linear(x, net.state["identity_encoder.fc.weight"], net.state["identity_encoder.fc.bias"])


def pose_encoder(net, x):
    strides = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
    name = "pose_encoder.features."
    x = net.norm(net.conv(x, f"{name}0.0", 2), f"{name}0.1").clamp(0, 6)
    for number, stride in enumerate(strides, start=1):
        block, y = f"{name}{number}.conv.", x
        expands = int(net.has(f"{block}3."))
        if expands:
            y = net.norm(net.conv(y, f"{block}0.0"), f"{block}0.1").clamp(0, 6)
        y = net.norm(net.conv(y, f"{block}{expands}.0", stride), f"{block}{expands}.1").clamp(0, 6)
        y = net.norm(net.conv(y, f"{block}{expands + 1}"), f"{block}{expands + 2}")
        x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
    x = net.norm(net.conv(x, f"{name}18.0"), f"{name}18.1").clamp(0, 6).mean((2, 3))
    return linear(x, net.state["pose_encoder.classifier.1.weight"], net.state["pose_encoder.classifier.1.bias"])


def generator(net, identity, pose):
    x = torch.cat([identity, pose], 1)
    for number in (0, 2):
        name = f"affine_params_projector.{number}"
        x = linear(x, net.weight(name, eps=1e-12), net.state[f"{name}.bias"])
        affine = x = relu(x) if number == 0 else x
    place = 0

    def adain(x):
        nonlocal place
        width = x.shape[1]
        bias, scale = affine[:, place : place + width], affine[:, place + width : place + 2 * width]
        place += 2 * width
        return F.instance_norm(x, eps=1e-4) * scale[:, :, None, None] + bias[:, :, None, None]

    def up(x, doubled):
        return interpolate(x, scale_factor=2, mode="nearest") if doubled else x

    x = net.state["constant.constant"].expand(len(pose), -1, -1, -1)
    block = 0
    while net.has(name := f"decoder_blocks.{block}.block."):
        doubled = net.has(f"{name}4.")
        y = net.conv(up(relu(adain(x)), doubled), f"{name}{3 + doubled}")
        y = net.conv(relu(adain(y)), f"{name}{7 + doubled}")
        skip = f"decoder_blocks.{block}.skip.1"
        x = y + (net.conv(up(x, doubled), skip) if net.has(skip) else x)
        block += 1
    x = torch.tanh(net.conv(relu(adain(x)), f"decoder_blocks.{block + 2}"))
    matte = x[:, 3:] * 0.5 + 0.5
    return (x[:, :3] * 0.75 + 0.5) * matte, matte


def discriminator(net, image, rows):
    x = net.conv(relu(net.conv(image, "down_block.0")), "down_block.2")
    x = avg_pool2d(x, 2) + avg_pool2d(net.conv(image, "skip.0"), 2)
    maps, block = [], 0
    while net.has(name := f"blocks.{block}."):
        x = relu(x)  # in place in their code: the map handed out and the skip see it
        maps.append(x)
        y = net.conv(relu(net.conv(x, f"{name}block.2")), f"{name}block.5")
        if net.has(f"{name}skip"):
            x = avg_pool2d(y, 2) + avg_pool2d(net.conv(x, f"{name}skip.0"), 2)
        else:
            x = y + x
        block += 1
    h = relu(x).sum((2, 3))
    score = linear(h, net.weight("linear"), net.state["linear.bias"])[:, 0] + (h * rows).sum(1)
    return score, [*maps, x]


def label_rows(net, label):
    weight = net.weight("embed", eps=1e-12 if len(net.state["embed.weight_orig"]) == 1 else 1e-4)
    return weight[label]


def vgg_loss(weights, layout, fake, real):
    """weights: [(weight, bias)] of the 13 convolutions. Not weighted."""
    mean = torch.tensor(CAFFE_MEAN).to(fake)[:, None, None] / 255
    a, b = (((x + 1) / 2 - mean) / (1 / 255) for x in (fake, real))
    loss = 0
    for number, (w, bias) in enumerate(weights):
        if number in VGG_POOLS[layout]:
            a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
        a, b = relu(conv2d(a, w, bias, padding=1)), relu(conv2d(b, w, bias, padding=1))
        loss = loss + l1_loss(a, b)
    return loss


def centre(x):
    """The middle 1/1.8 of the image at its full size."""
    matrix = torch.tensor([[[1 / 1.8, 0, 0], [0, 1 / 1.8, 0]]]).to(x).expand(len(x), 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def forward(nets, vggs, batch):
    """Everything that one iteration of the authors' code computes before its updates.

    Args:
        nets: embedder, generator and discriminator, each a `Part`.
        vggs: vgg19 and vgg16, for `vgg_loss`.
        batch: enc_rgbs, pose_rgbs, target_rgbs, mask, label.
    """
    out = {}
    personal = "identity_embedding" in nets["generator"].state
    if personal:
        identity = nets["generator"].state["identity_embedding"].expand(len(batch["label"]), -1)
    else:
        frames = batch["enc_rgbs"]
        each = identity_encoder(nets["embedder"], frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        out["embeds"] = identity = each.mean(1)
    out["pose_embedding"] = pose_encoder(nets["embedder"], batch["pose_rgbs"])
    fake, matte = generator(nets["generator"], identity, out["pose_embedding"])
    weights, real = nets["discriminator"], batch["target_rgbs"]
    rows = label_rows(weights, batch["label"])
    score, fake_maps = discriminator(weights, fake, rows)
    fake_score_d, _ = discriminator(weights, fake.detach(), rows.detach())
    real_score, real_maps = discriminator(weights, real, rows)
    out |= {
        "fake_rgbs": fake,
        "fake_segm": matte,
        "real_embedding": rows,
        "fake_score_G": score,
        "real_score": real_score,
    }
    out["fake_features"], out["real_features"] = fake_maps, real_maps
    mask = batch["mask"].expand(-1, 3, -1, -1)
    losses = {
        "adversarial_G": -score.mean(),
        "feature_matching": sum(l1_loss(a, b.detach()) for a, b in zip(fake_maps, real_maps, strict=True))
        / len(fake_maps),
        "VGG": vgg_loss(vggs["vgg19"], "vgg19", fake, real),
        "VGGFace": vgg_loss(vggs["vgg16"], "vgg16", centre(fake), centre(real)),
        "segmentation_dice": -torch.log((2 * matte * mask).sum() / ((matte**2).sum() + (mask**2).sum())),
    }
    if not personal:
        losses["embedding_matching"] = l1_loss(each[:, 0], rows.detach())
    out["losses"] = {name: value * WEIGHTS.get(name, 1.0) for name, value in losses.items()}
    out["loss_D"] = relu(1 - real_score).mean() + relu(1 + fake_score_d).mean()
    return out


def trained(state):
    """Names of what an optimizer changes: not running statistics, counters and singular vectors."""
    ends = ("running_mean", "running_var", "num_batches_tracked", "weight_u", "weight_v")
    return [name for name in state if not name.endswith(ends)]


class Training:
    """The authors' iteration, with Adam (meta) or their RAdam within its first five steps (fine-tuned), by hand."""

    def __init__(self, states, averages, vggs, rates, ema):
        self.nets = {name: Part({k: v.clone() for k, v in state.items()}, train=True) for name, state in states.items()}
        self.averages = {name: {k: v.clone() for k, v in state.items()} for name, state in averages.items()}
        self.vggs, self.rates, self.ema, self.squares, self.count = vggs, rates, ema, {}, 0
        self.personal = "identity_embedding" in states["generator"]

    def step(self, batch):
        """One iteration; returns what `forward` does."""
        sides = (
            (("generator",), ("discriminator",)) if self.personal else (("generator", "embedder"), ("discriminator",))
        )
        leaves = [[(n, k) for n in names for k in trained(self.nets[n].state)] for names in sides]
        for name, key in leaves[0] + leaves[1]:
            self.nets[name].state[key].requires_grad_(True)
        out = forward(self.nets, self.vggs, batch)
        self.count += 1
        totals = (sum(out["losses"].values()), out["loss_D"])
        gradients = [
            torch.autograd.grad(total, [self.nets[n].state[k] for n, k in side], retain_graph=True, allow_unused=True)
            for total, side in zip(totals, leaves, strict=True)
        ]
        for side, grads, rate in zip(leaves, gradients, self.rates, strict=True):
            for place, gradient in zip(side, grads, strict=True):
                if gradient is not None:
                    self._update(place, gradient, rate)
        for name, average in self.averages.items():
            state = self.nets[name].state
            for key in state:
                new = state[key].detach()
                average[key] = average[key] * self.ema + new * (1 - self.ema) if key in trained(state) else new.clone()
        return out

    def _update(self, place, gradient, rate):
        name, key = place
        if self.personal:
            step = gradient  # original RAdam: plain descent while the variance is not yet known
        else:
            square = self.squares.get(place, 0) * 0.999 + 0.001 * gradient**2
            self.squares[place] = square
            step = gradient / (square.sqrt() / math.sqrt(1 - 0.999**self.count) + 1e-5)
        self.nets[name].state[key] = (self.nets[name].state[key] - rate * step).detach()


def fill(shapes, seed):
    """Repeatable weights {name: shape} -> {name: tensor}; singular vectors after 3 power iterations, not converged."""
    state = {}
    for name, shape in shapes.items():
        x = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode())).standard_normal(tuple(shape))
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(100)
            continue
        if name.endswith("running_var"):
            x = 0.7 + 0.5 * np.abs(x)
        elif name.endswith(("running_mean", "bias")):
            x = 0.1 * x
        elif name == "constant.constant" or (name.endswith("weight") and len(shape) == 1):
            x = 1 + 0.2 * x
        elif name.endswith(("weight", "weight_orig")):
            x = x * math.sqrt(2 / np.prod(shape[1:]))
        state[name] = torch.from_numpy(x).float()
    for name in shapes:
        if name.endswith("weight_u"):
            stem = name.removesuffix("u")
            matrix = state[f"{stem}orig"].flatten(1)
            for _ in range(3):
                state[f"{stem}v"] = normalize(matrix.T @ state[f"{stem}u"], dim=0)
                state[f"{stem}u"] = normalize(matrix @ state[f"{stem}v"], dim=0)
    return state


def near(state, other):
    """Weights a tenth of the way to others, as an average lags behind: its singular vectors still fit."""
    return {k: state[k].lerp(other[k], 0.1) if k in trained(state) else state[k] for k in state}


def small_case(shapes, seed):
    """States, averages, VGGs and a batch for {network: {name: shape}}, at 32 px."""
    states = {name: fill(part, f"{seed}:{name}") for name, part in shapes.items()}
    averages = {
        name: near(states[name], fill(shapes[name], f"{seed}:ema:{name}")) for name in ("embedder", "generator")
    }
    widths = [6, 6, 12, 12, 24, 24, 24, 24, 48, 48, 48, 48, 48], [6, 6, 12, 12, 24, 24, 24, 48, 48, 48, 48, 48, 48]
    vggs = {}
    for layout, counts in zip(("vgg19", "vgg16"), widths, strict=True):
        names = {f"{i}.weight": (n, m, 3, 3) for i, (n, m) in enumerate(zip(counts, (3, *counts[:-1]), strict=True))}
        names |= {f"{i}.bias": (n,) for i, n in enumerate(counts)}
        filled = fill(names, f"{seed}:{layout}")
        vggs[layout] = [(filled[f"{i}.weight"], filled[f"{i}.bias"]) for i in range(13)]
    coarse = fill(
        {"enc_rgbs": (6, 3, 5, 5), "pose_rgbs": (2, 3, 5, 5), "target_rgbs": (2, 3, 5, 5), "mask": (2, 1, 5, 5)}, seed
    )
    smooth = {
        k: interpolate(v, size=(32, 32), mode="bilinear", align_corners=True).sigmoid() for k, v in coarse.items()
    }
    mask = (smooth["mask"] > 0.45).float()
    personal = "identity_embedding" in shapes["generator"]
    batch = smooth | {
        "enc_rgbs": smooth["enc_rgbs"].unflatten(0, (2, 3)),
        "mask": mask,
        "target_rgbs": smooth["target_rgbs"] * mask,
        "label": torch.tensor([0, 0] if personal else [0, 1]),
    }
    return states, averages, vggs, batch


SETTINGS = {"meta": ((5e-5, 2e-4), 0.999), "finetuned": ((5e-4, 8e-4), 0.972)}
FIXTURE = Path(__file__).parents[1] / "fixtures" / "parity_small.npz"


def small_shapes():
    """Form -> network -> key -> shape of the narrow networks, in the authors' names."""
    with np.load(FIXTURE) as fixture:
        return json.loads(str(fixture["shapes"]))


def numbers(form):
    """What the fixture holds for one form: the forward pass in evaluation mode, then three training steps."""
    states, averages, vggs, batch = small_case(small_shapes()[form], form)
    found = {}
    for kind, other in (("raw", {}), ("ema", averages)):
        with torch.no_grad():
            out = forward({name: Part(state) for name, state in (states | other).items()}, vggs, batch)
        losses, loss_d = out.pop("losses"), out.pop("loss_D")
        found |= {f"{kind}.loss.{name}": value for name, value in (losses | {"adversarial_D": loss_d}).items()}
        for name, value in out.items() if kind == "raw" else [("fake_rgbs", out["fake_rgbs"])]:
            maps = enumerate(value) if isinstance(value, list) else [("", value)]
            found |= {f"{kind}.{name}.{i}".rstrip("."): tensor for i, tensor in maps}
    training = Training(states, averages, vggs, *SETTINGS[form])
    for step in range(3):
        out = training.step(batch)
        losses = out["losses"] | {"adversarial_D": out["loss_D"]}
        found |= {f"train.step{step}.loss.{name}": value for name, value in losses.items()}
    with torch.no_grad():
        parts = {name: Part(state) for name, state in (states | training.averages).items()}
        found["train.ema.fake_rgbs"] = forward(parts, vggs, batch)["fake_rgbs"]
    return {name: value.detach().numpy() for name, value in found.items()}


if __name__ == "__main__":
    made = {"shapes": json.dumps(small_shapes())}
    made |= {f"{form}.{name}": value for form in SETTINGS for name, value in numbers(form).items()}
    np.savez_compressed(FIXTURE, **made)
    print(f"{FIXTURE}: {len(made)} arrays, {FIXTURE.stat().st_size / 1000:.0f} kB")
