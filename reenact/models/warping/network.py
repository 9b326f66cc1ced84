"""What is left for a network when geometry has moved the photos: where to trust which of them, and what none shows.

Everything is seen at half of the working size and below; only the last step is at the working size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

GIVEN = 10
"""Channels of a warped reference: RGB x matte (3), matte, coverage, canonical coordinates (3), how far it came; and the
reference's matte where it was."""

UNSEEN = 12.0
"""How much less a reference is trusted where none of it lands."""

COLOURLESS, OTHERS = 40.0, 25.0
"""How much less the colours of a reference are trusted where none of it lands, and those of a mirror image: a parting
or an earring is on the other side in it, so that it gives colours where no photo does, but its outline everywhere."""

SPOKEN = 4
"""Only levels at this part of the working size and finer are told what the face does, and there only between the lips,
where it tells teeth from tongue: where all were told, hair let go as mouths opened far."""


class Block(nn.Module):
    """Two 3x3 convolutions with a residual way around; codes scale and shift what lies between them."""

    def __init__(self, inputs: int, outputs: int, code: int = 0) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.film = nn.Linear(code, 2 * outputs) if code else None
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(
        self, x: Tensor, code: Tensor | None = None, there: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """x: B x C x H x W, codes: B x D, the second where `at` (B x 1 x H x W) is 1 -> B x outputs x H x W."""
        h = self.conv1(functional.silu(self.norm(x)))
        if self.film is not None:
            known = self.film(code)[:, :, None, None]
            if at is not None:
                known = known + at.to(known) * (self.film(there)[:, :, None, None] - known)
            scale, shift = known.chunk(2, 1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(functional.silu(h))


class Refiner(nn.Module):
    """Warped references -> picture.

    Args:
        expressions: length of the code that says what the face does.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the working size.
        mirrored: whether it tells mirror images from photos.
    """

    def __init__(self, expressions: int, widths: tuple[int, int, int, int], mirrored: bool = True) -> None:
        super().__init__()
        a, b, c, d = widths
        code = 128
        self.look = nn.Sequential(nn.Conv2d(4 * GIVEN, a, 3, padding=1), Block(a, a))
        self.mirror = nn.Parameter(torch.zeros(a)) if mirrored else None
        self.confidence = nn.Conv2d(a, 1, 3, padding=1)
        self.enter = nn.Conv2d(a + 4 * (GIVEN + 1), a, 3, padding=1)
        self.down = nn.ModuleList(
            [nn.Sequential(Block(w, w), nn.Conv2d(w, v, 3, stride=2, padding=1)) for w, v in ((a, b), (b, c), (c, d))]
        )
        self.code = nn.Sequential(nn.Linear(expressions + d, code), nn.SiLU(), nn.Linear(code, code))
        self.middle = nn.ModuleList([Block(d, d, code), Block(d, d, code)])
        self.up = nn.ModuleList([nn.Conv2d(w, v, 1) for w, v in ((d, c), (c, b), (b, a))])
        self.join = nn.ModuleList([Block(2 * w, w, code) for w in (c, b, a)])
        self.more = nn.ModuleList([Block(w, w, code) for w in (c, b, a)])
        self.leave = nn.Conv2d(a, 4 * 5, 3, padding=1)
        self.flow = nn.Conv2d(a, 2, 3, padding=1)
        for last in (self.confidence, self.flow, self.leave):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, given: Tensor, inside: Tensor, expression: Tensor, nearness: Tensor, mirrored: Tensor
    ) -> dict[str, Tensor]:
        """Everything that makes the picture, at the working size S.

        Args:
            given: B x K x GIVEN x S x S, the warped references.
            inside: B x 1 x S x S, between the lips of the wanted face.
            expression: B x E; matters between the lips alone (SPOKEN).
            nearness: B x K, how like the wanted face each reference is (`nearness`).
            mirrored: B x K, 1 for a mirror image.

        Returns:
            confidence and colours B x K x 1 x S x S (which reference is taken, sums to 1 over them, for all and for
            colours alone), rgb (B x 3, what is generated, not multiplied by a matte), matte (B x 1, logit to add),
            share (B x 1, logit: how much is taken from the photos), flow (B x 2, to add, fractions of half the side).
        """
        batch, count = given.shape[:2]
        small = functional.pixel_unshuffle(given.flatten(0, 1), 2)
        seen = self.look(small)
        if self.mirror is not None:
            seen = seen + mirrored.flatten()[:, None, None, None] * self.mirror[:, None, None]
        covered = functional.avg_pool2d(given[:, :, 4].clamp(0, 1), 2)[:, :, None]
        trust = self.confidence(functional.silu(seen)).unflatten(0, (batch, count)) * 8
        trust = trust + UNSEEN * (covered - 1)
        trust = trust + nearness[:, :, None, None, None]
        weights = torch.softmax(trust, 1)
        seen = (seen.unflatten(0, (batch, count)) * weights).sum(1)
        large = enlarge(weights.flatten(0, 1)).unflatten(0, (batch, count))
        colours = large
        if self.mirror is not None:
            trusted = trust + COLOURLESS * (covered - 1) - OTHERS * mirrored[:, :, None, None, None]
            colours = enlarge(torch.softmax(trusted, 1).flatten(0, 1)).unflatten(0, (batch, count))
        blended = torch.cat([(given * large).sum(1), inside], 1)
        x = self.enter(torch.cat([seen, functional.pixel_unshuffle(blended, 2)], 1))
        kept = []
        for down in self.down:
            x = down[0](x)
            kept.append(x)
            x = down[1](x)
        mean = x.mean((2, 3))
        anywhere, lips = (self.code(torch.cat([said, mean], 1)) for said in (0 * expression, expression))
        for block in self.middle:
            x = block(x, anywhere)
        for part, up, join, more, skip in zip((8, 4, 2), self.up, self.join, self.more, reversed(kept), strict=True):
            code = (anywhere, lips, around(inside, part)) if part <= SPOKEN else (anywhere,)
            x = join(torch.cat([functional.interpolate(up(x), scale_factor=2, mode="nearest"), skip], 1), *code)
            x = more(x, *code)
        x = functional.silu(x)
        rgb, matte, share = functional.pixel_shuffle(self.leave(x), 2).split([3, 1, 1], 1)
        return {
            "confidence": large,
            "colours": colours,
            "rgb": rgb,
            "matte": matte,
            "share": share,
            "flow": 0.05 * enlarge(self.flow(x)),
            "trust": trust,
        }


def around(inside: Tensor, part: int) -> Tensor:
    """A mask and a pixel around it, at a part of its size: B x 1 x S x S -> B x 1 x S/part x S/part."""
    return functional.max_pool2d(functional.avg_pool2d(inside, part), 3, 1, 1)


def enlarge(x: Tensor) -> Tensor:
    """Twice the size."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
