"""How cost grows: with frames, photos, side, people shown at once and clips of a set. A table and a small plot each.

Usage: python benchmarks/growth.py [KIND ...] [--rounds 3] [--threads N] [--write]     (5 minutes on two free cores)

Kinds: frames, photos, moved (photos that an avatar of the warping family moves), side, together, clips; without any,
all. Medians of so many rounds, after one to warm up. The constant family is `mini` (128 px where nothing else is said),
the warping family the bundled model (256 px); both compute in what the machine is fast in. --write puts the tables into
docs/performance.md, in the part of this machine, and the plots into docs/growth.png; --tiny tries the script.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from planning import make_project, plan
from speed import PAGE, learner_of, machine, make_batch, mattes, our_step, photos, warping_avatar, warping_model, write

from reenact.avatar import Avatar
from reenact.data.images import to_tensor
from reenact.models.architecture import PRESETS, Architecture
from reenact.models.reenactor import Reenactor
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.runtime.devices import pick_device

PICTURE = PAGE.with_name("growth.png")
FRAMES = 8
"""Driven at once where nothing else is said."""


@dataclass(frozen=True)
class Growth:
    """How some costs grow with one number.

    Attributes:
        title: for table and plot.
        along: what the number is.
        values: of it.
        unit: of the costs.
        costs: by name, one for each value.
    """

    title: str
    along: str
    values: list[int]
    unit: str
    costs: dict[str, list[float]]

    def table(self) -> list[str]:
        """Lines of markdown."""
        heads = [f"{name}, {self.unit}" for name in self.costs]
        lines = [f"**{self.title}**", "", f"| {self.along} | {' | '.join(heads)} |", "| ---: " * (1 + len(heads)) + "|"]
        for number, value in enumerate(self.values):
            found = [costs[number] for costs in self.costs.values()]
            cells = [f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}" for cost in found]
            lines.append(f"| {value:,} | {' | '.join(cells)} |")
        return [*lines, ""]


@dataclass(frozen=True)
class Bench:
    """Where and how often something is measured.

    Attributes:
        device: where.
        rounds: whose median is taken, after one to warm up.
        tiny: whether only the script is tried.
    """

    device: torch.device
    rounds: int
    tiny: bool

    def seconds(self, once: Callable[[], object]) -> float:
        """How long `once` takes."""
        times = []
        for _ in range(1 + self.rounds):
            began = time.perf_counter()
            once()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])

    def values(self, *values: int) -> list[int]:
        """Numbers to measure; the first two of them to try the script."""
        return list(values[:2] if self.tiny else values)

    def mini(self, side: int = 128) -> Architecture:
        """Networks of the constant family for a side, px."""
        return replace(PRESETS["mini"], image_size=side)

    def constant(self, side: int = 128, personal: bool = True) -> Avatar:
        """An avatar of the constant family, or a meta-model; its weights, which no cost depends on, are random."""
        return Avatar(Reenactor(self.mini(side), personal=personal), {}, self.device)

    def warping(self, count: int, side: int = 256) -> Avatar:
        """An avatar of the warping family, of so many photos and another side of its pictures."""
        if side == 256 or self.tiny:
            return warping_avatar(count, self.device, tiny=self.tiny)
        known = warping_model(self.tiny)
        model = WarpingReenactor(replace(known.architecture, image_size=side))
        model.load_state_dict(known.state_dict())
        return Avatar(model.eval().personalised(photos(count), mattes(count), count), {}, self.device)

    def driving(self, avatar: Avatar, count: int = FRAMES) -> float:
        """Seconds of driving so many frames, from crops to pictures on the CPU."""
        crops = photos(count)
        return self.seconds(lambda: [rgb.cpu() for rgb, _ in avatar.drive(crops)])

    def finetuning(self, side: int, batch: int) -> float:
        """Seconds of a fine-tuning step of the constant family."""
        architecture = self.mini(side)
        learner = learner_of("mini", architecture, "auto")
        return self.seconds(our_step(learner, make_batch("mini", architecture, batch), self.device))


def frames(bench: Bench) -> Growth:
    """Driving, over the length of the driver."""
    values = bench.values(8, 32, 128)
    avatars = {"constant, 128 px": bench.constant(), "warping, 256 px, 4 photos": bench.warping(4)}
    costs = {name: [bench.driving(avatar, count) for count in values] for name, avatar in avatars.items()}
    return Growth("Driving, over frames of the driver", "frames", values, "s", costs)


def of_photos(bench: Bench) -> Growth:
    """What a person's photos cost before the first frame is driven, and a step of fine-tuning."""
    values = bench.values(1, 4, 16, 64, 256)
    constant, warping = bench.constant(personal=False), Avatar(warping_model(bench.tiny), {}, bench.device)
    costs = {
        "constant: identity": [bench.seconds(partial(constant.identify, photos(n))) for n in values],
        "warping: 4 are chosen": [bench.seconds(partial(warping.identify, photos(n), mattes(n))) for n in values],
        "constant: fine-tuning step, batch up to 8": [bench.finetuning(128, min(8, n)) for n in values],
    }
    return Growth("Preparing and fine-tuning, over photos of a person", "photos", values, "s", costs)


def moved(bench: Bench) -> Growth:
    """Driving of the warping family, over the photos that it moves; mirror images make fewer than four up to four."""
    values = bench.values(1, 2, 3, 4, 6, 8)
    costs = {"warping, 256 px": [1000 / FRAMES * bench.driving(bench.warping(count)) for count in values]}
    return Growth("Driving, over photos that are moved", "photos", values, "ms a frame", costs)


def of_side(bench: Bench) -> Growth:
    """Driving and fine-tuning, over the side of the pictures; what the warping family generates stays at 128 px."""
    values = bench.values(128, 256, 512)
    costs = {
        "constant: a driven frame": [1000 / FRAMES * bench.driving(bench.constant(side)) for side in values],
        "warping: a driven frame": [1000 / FRAMES * bench.driving(bench.warping(4, side)) for side in values],
        "constant: fine-tuning, a sample": [1000 / 2 * bench.finetuning(side, 2) for side in values],
    }
    return Growth("Driving and fine-tuning, over the side", "side, px", values, "ms", costs)


def together(bench: Bench) -> Growth:
    """A picture of each of several people: in one batch, as a meta-model of the constant family can, or one by one."""
    values = bench.values(1, 2, 4, 8)
    constant, avatars = bench.constant(personal=False), [bench.warping(4) for _ in range(max(values))]
    driver = to_tensor(photos(max(values)))
    poses, warped = constant.pose_embedding(driver), avatars[0].pose_embedding(driver)
    people = torch.rand(len(poses), constant.identity_dim or 0)

    def batch(count: int) -> None:
        constant.render(poses[:count], people[:count])

    def singly(count: int) -> None:
        for pose, person in zip(poses[:count, None], people, strict=False):
            constant.render(pose, person)

    def moving(count: int) -> None:
        for pose, avatar in zip(warped[:count, None], avatars, strict=False):
            avatar.render(pose)

    ways = {"constant, one batch": batch, "constant, one by one": singly, "warping, one by one": moving}
    costs = {name: [1000 / n * bench.seconds(partial(once, n)) for n in values] for name, once in ways.items()}
    return Growth("A picture of each of several people", "people", values, "ms a picture", costs)


def clips(bench: Bench) -> Growth:
    """Meta-learning, over clips of the set, each of which has a row in the discriminator, and planning."""
    values = bench.values(1_500, 15_000, 150_000)
    architecture = bench.mini()
    batch = make_batch("meta", architecture, 2)
    costs: dict[str, list[float]] = {"constant: meta step, batch 2": [], "planning": []}
    for count in values:
        step = our_step(learner_of("meta", architecture, "auto", labels=count), batch, bench.device)
        costs["constant: meta step, batch 2"].append(bench.seconds(step))
        with tempfile.TemporaryDirectory(prefix="reenact-growth-") as name:
            make_project(Path(name), count, avatars=2, drivers=1, shards=64, source="set.csv")
            costs["planning"].append(plan(Path(name))[0])
    return Growth("Meta-learning and planning, over clips of a set", "clips", values, "s", costs)


KINDS: dict[str, Callable[[Bench], Growth]] = {
    "frames": frames,
    "photos": of_photos,
    "moved": moved,
    "side": of_side,
    "together": together,
    "clips": clips,
}


def draw(found: Sequence[Growth]) -> Figure:
    """A small plot each; both axes are logarithmic, so that what grows alike is parallel."""
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    for number, growth in enumerate(found):
        axis = figure.add_subplot(rows, columns, number + 1)
        for name, costs in growth.costs.items():
            axis.loglog(growth.values, costs, marker="o", markersize=3, linewidth=1.5, label=name)
        axis.set_title(growth.title, fontsize=9)
        axis.set_xticks(growth.values, [f"{value:,}" for value in growth.values])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.set_ylim(*least_decade([cost for costs in growth.costs.values() for cost in costs]))
        axis.set_xlabel(growth.along, fontsize=8)
        axis.set_ylabel(growth.unit, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=6, frameon=False)
    return figure


def least_decade(costs: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis for costs: at least a factor of 10 apart, so that what hardly grows looks flat."""
    low, high = min(costs) / 1.2, max(costs) * 1.2
    more = max(1.0, (10 * low / high) ** 0.5)
    return low / more, high * more


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    bench = Bench(pick_device(arguments.device, arguments.threads), arguments.rounds, arguments.tiny)
    print(machine(arguments), end="\n\n")
    found = []
    for kind in arguments.kinds or KINDS:
        found.append(KINDS[kind](bench))
        print("\n".join(found[-1].table()), flush=True)
    if arguments.write:
        draw(found).savefig(PICTURE, dpi=110)
        shown = " ".join(["python benchmarks/growth.py", *(word for word in sys.argv[1:] if word != "--write")])
        lines = [line for growth in found for line in growth.table()]
        write(machine(arguments), shown, [f"![How cost grows]({PICTURE.name})", "", *lines[:-1]])


if __name__ == "__main__":
    main()
