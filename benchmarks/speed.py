"""How fast training, fine-tuning and driving are beside the published way of doing them, as ratios of one run.

Usage: python benchmarks/speed.py [TASK ...] [--rounds 5] [--threads N] [--write]    (10 minutes on two cores; 18 GB)

Tasks: meta, finetune (preset published, 256 px, batch 2), drive (256 px), mini (fine-tuning at 128 px, batch 8); of the
warping family, which has no published counterpart, warping1, warping4 (driving with one and four photos) and refiner
(training); without any, all. Each way of doing a task is a process of its own, and they take turns: once to warm up,
then so many rounds. Medians are compared. --write puts the tables into docs/performance.md, in the part of this
machine. On a GPU the same command compares on the GPU (--device cuda); --tiny makes everything narrow, to try the
script itself.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from person_clips import oval, portrait
from published_files import convert_back
from reference import published

from reenact.avatar import Avatar
from reenact.data.rank_batch import StepBatch
from reenact.data.samples import Batch
from reenact.models.architecture import PRESETS, Architecture
from reenact.models.model_file import load_model
from reenact.models.precision import allow_tf32
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.models.warping.network import GIVEN
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.runtime.allocator import without_caches
from reenact.runtime.devices import pick_device
from reenact.runtime.utilization import measure_ceiling
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import BUNDLED_MODELS, MetaSettings
from reenact.training.adversarial import AdversarialObjective
from reenact.training.learner import Learner
from reenact.training.loop import average_gradients, backward, update
from reenact.training.objective import Objective
from reenact.training.warping.losses import WarpingObjective
from reenact.training.warping.samples import WarpingBatch

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
TASKS = {
    "meta": "meta step, 256 px, batch 2, 8 identity frames",
    "finetune": "fine-tuning step, 256 px, batch 2",
    "mini": "fine-tuning step of mini, 128 px, batch 8",
    "drive": "8 driven frames, 256 px",
    "warping1": "8 driven frames, 256 px, 1 photo",
    "warping4": "8 driven frames, 256 px, 4 photos",
    "refiner": "3 training steps of the refiner, 128 px, batch 8, with 1, 1 and 3 photos",
}
OURS_ALONE = ("warping1", "warping4", "refiner")
"""Tasks of the warping family: nothing published does them."""

WAYS = {"reference": "published way", "fp32": "ours, fp32", "auto": "ours, default"}
LABELS, FRAMES = 10, 8
PHOTOS = (1, 1, 3)
"""Of the warping family's training samples, by step."""


# ---- what is measured, in a process of its own -----------------------------------------------------------------


def architecture_of(task: str, tiny: bool) -> Architecture:
    """Sizes of the networks."""
    if tiny:
        from narrow import NARROW

        return NARROW
    return PRESETS["mini" if task == "mini" else "published"]


def make_batch(task: str, architecture: Architecture, size: int) -> dict[str, Tensor]:
    """Random samples in the authors' names."""
    random = torch.Generator().manual_seed(1)
    side = architecture.image_size

    def images(*shape: int) -> Tensor:
        return torch.rand(*shape, side, side, generator=random)

    mask = (images(size, 1) > 0.5).float()
    return {
        "enc_rgbs": images(size, 8 if task == "meta" else 1, 3),
        "pose_rgbs": images(size, 3),
        "target_rgbs": images(size, 3) * mask,
        "mask": mask,
        "label": torch.arange(size) % LABELS if task == "meta" else torch.zeros(size, dtype=torch.long),
    }


def learner_of(task: str, architecture: Architecture, precision: str, labels: int = LABELS) -> Learner:
    """Ours, as the stages build it; losses in the published form, so that both sides compute the same."""
    torch.manual_seed(0)
    chosen: dict[str, Any] = {"losses": {"form": "published"}, "precision": precision}
    if task == "meta":
        net = Reenactor(architecture).train()
        return Learner(net, build_discriminator(architecture, labels), MetaSettings(**chosen))
    net = Reenactor(architecture, personal=True).eval().requires_grad_(False)
    net.generator.train().requires_grad_(True)
    for embedding in net.parameters(recurse=False):
        embedding.requires_grad_(True)
    if task == "mini":
        chosen["perceptual_width"] = 0.25
    return Learner(net, build_discriminator(architecture, 1), FinetuneSettings(**chosen))


def published_states(learner: Learner, architecture: Architecture) -> dict[str, dict[str, Tensor]]:
    """The learner's weights in the authors' names."""
    assert learner.discriminator is not None
    states = convert_back(learner.reenactor.state_dict(), learner.discriminator.state_dict(), architecture=architecture)
    return {
        name: {key: value.detach().clone() for key, value in state.items()}
        for name, state in zip(("embedder", "generator", "discriminator"), states, strict=True)
    }


def training_step(task: str, way: str, device: torch.device, tiny: bool) -> Callable[[], object]:
    """One step of training of the constant family, to be called again and again."""
    architecture = architecture_of(task, tiny)
    learner = learner_of(task, architecture, "fp32" if way == "reference" else way)
    given = make_batch(task, architecture, 8 if task == "mini" else 2)
    if way == "reference":
        return published_step(learner, architecture, given, device)
    return our_step(learner, given, device)


def our_step(learner: Learner, given: dict[str, Tensor], device: torch.device) -> Callable[[], object]:
    """One step of ours on these samples."""
    frames = given["enc_rgbs"][:, : 0 if learner.reenactor.personal else None]
    batch = Batch(frames, *(given[name] for name in ("pose_rgbs", "target_rgbs", "mask", "label")), names=["a"])
    return steps(learner, AdversarialObjective(learner.settings), [batch], device)


def published_step(
    learner: Learner, architecture: Architecture, given: dict[str, Tensor], device: torch.device
) -> Callable[[], object]:
    """One step of the published way with the learner's weights."""
    losses = AdversarialObjective(learner.settings).image_losses
    networks = {"vgg19": losses.perceptual, "vgg16": losses.face_perceptual}
    vggs = {
        name: [(conv.weight.to(device), conv.bias.to(device)) for conv in network.convs]
        for name, network in networks.items()
        if network is not None
    }
    states = published_states(learner, architecture)
    training = published.Training({n: {k: v.to(device) for k, v in s.items()} for n, s in states.items()}, vggs)
    moved = {name: value.to(device) for name, value in given.items()}
    return lambda: training.step(moved)


def refiner_steps(precision: str, device: torch.device, tiny: bool) -> Callable[[], object]:
    """A training step of the warping family for each of PHOTOS, on random samples."""
    settings = MetaSettings.model_validate({"preset": "warping", "precision": precision})
    model = warping_model(tiny).eval().requires_grad_(False)
    model.refiner.train().requires_grad_(True)
    architecture, size = model.architecture, 2 if tiny else settings.batch_size
    random, side = torch.Generator().manual_seed(1), architecture.working_size

    def images(*shape: int) -> Tensor:
        return torch.rand(*shape, side, side, generator=random)

    batches = []
    for count in PHOTOS:
        matte = (images(size, 1) > 0.5).float()
        batches.append(
            WarpingBatch(
                given=images(size, count, GIVEN),
                lips=(images(size, 1) > 0.9).float(),
                expression=torch.rand(size, architecture.blendshapes, generator=random),
                nearness=torch.zeros(size, count),
                mirrored=torch.zeros(size, count),
                target=images(size, 3) * matte,
                matte=matte,
                emphasis=images(size, 1),
                close=torch.tensor([[0.5, 0.5, 0.5]]).expand(size, 3),
                source=torch.full((size, 2 + count), -1),
            )
        )
    return steps(Learner(model, None, settings), WarpingObjective(settings), batches, device)


def steps(
    learner: Learner, objective: Objective, batches: Sequence[StepBatch], device: torch.device
) -> Callable[[], object]:
    """A training step on each of some batches."""
    learner.prepare(device)
    objective.to(device)
    moved = [batch.to(device) for batch in batches]

    def once() -> None:
        for batch in moved:
            backward(learner, batch.micro_batches(), objective)
            average_gradients(learner)
            update(learner)

    return once


def driving(way: str, device: torch.device, tiny: bool) -> Callable[[], object]:
    """FRAMES frames, from crops to pictures."""
    architecture = architecture_of("drive", tiny)
    learner = learner_of("finetune", architecture, "fp32")
    frames = torch.rand(FRAMES, 3, architecture.image_size, architecture.image_size).to(device)
    if way == "reference":
        states = published_states(learner, architecture)
        states = {n: {k: v.to(device) for k, v in s.items()} for n, s in states.items()}
        identity = states["generator"]["identity_embedding"]
        return lambda: published.drive(states, identity, frames).cpu()
    avatar = Avatar(learner.reenactor, {}, device, way)
    return lambda: [rgb.cpu() for rgb, _ in avatar.drive(frames)]


def warping_model(tiny: bool) -> WarpingReenactor:
    """The bundled meta-model; a narrow one with random weights, to try the script."""
    if tiny:
        from warping_models import seeing_model

        return seeing_model()
    model = load_model(BUNDLED_MODELS["warping"]).reenactor
    assert isinstance(model, WarpingReenactor)
    return model


def photos(count: int) -> list[np.ndarray]:
    """So many photos of one face, each a little to the side of the one before: uint8 256 x 256 x 3."""
    return [portrait(x=0.01 * (number % 9 - 4)) for number in range(count)]


def mattes(count: int) -> list[np.ndarray]:
    """Of `photos`, nearly: uint8 256 x 256."""
    return [oval()] * count


def warping_avatar(count: int, device: torch.device, precision: str = "auto", tiny: bool = False) -> Avatar:
    """An avatar of so many photos."""
    model = warping_model(tiny).eval().personalised(photos(count), mattes(count), count)
    return Avatar(model, {}, device, precision)


def warping_driving(count: int, precision: str, device: torch.device, tiny: bool) -> Callable[[], object]:
    """FRAMES frames of an avatar of so many photos, from crops to pictures."""
    avatar, crops = warping_avatar(count, device, precision, tiny), photos(FRAMES)
    return lambda: [rgb.cpu() for rgb, _ in avatar.drive(crops)]


def task_of(task: str, way: str, device: torch.device, tiny: bool) -> Callable[[], object]:
    """What does a task once, in a way."""
    if task == "refiner":
        return refiner_steps(way, device, tiny)
    if task in OURS_ALONE:
        return warping_driving(int(task[-1]), way, device, tiny)
    return driving(way, device, tiny) if task == "drive" else training_step(task, way, device, tiny)


def work(task: str, way: str, device_name: str, threads: int, tiny: bool) -> None:
    """Do the task once for each line that comes, and answer each with seconds and the most memory so far, MB."""
    if way == "reference":  # without what ours does to the process
        torch.set_num_threads(threads)
        device = torch.device(device_name)
    else:
        device = pick_device(device_name, threads)
    once = task_of(task, way, device, tiny)
    for _ in sys.stdin:
        began = time.perf_counter()
        once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(json.dumps([time.perf_counter() - began, peak_memory(device)]), flush=True)


def peak_memory(device: torch.device) -> float:
    """MB: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if platform.system() == "Darwin" else 1e3)


# ---- taking turns -----------------------------------------------------------------------------------------------


@contextmanager
def worker(arguments: argparse.Namespace, task: str, way: str) -> Iterator[Callable[[], tuple[float, float]]]:
    """A function that has a process do the task once: seconds and MB."""
    command = [sys.executable, __file__, task, "--way", way, "--device", arguments.device]
    command += ["--threads", str(arguments.threads), *(["--tiny"] if arguments.tiny else [])]
    environ = dict(os.environ) if way == "reference" else without_caches(os.environ)  # as stages are launched
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True)
    assert process.stdin and process.stdout
    stdin, stdout = process.stdin, process.stdout

    def once() -> tuple[float, float]:
        stdin.write("\n")
        stdin.flush()
        seconds, memory = json.loads(stdout.readline())
        return seconds, memory

    try:
        yield once
    finally:
        stdin.close()
        process.wait()


def compare(arguments: argparse.Namespace, task: str) -> dict[str, tuple[float, float]]:
    """Median seconds and MB of each way."""
    found: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        ways = {
            way: stack.enter_context(worker(arguments, task, way))
            for way in WAYS
            if way != "reference" or task not in OURS_ALONE
        }
        for once in ways.values():
            once()
        for _ in range(arguments.rounds):
            for way, once in ways.items():
                found.setdefault(way, []).append(once())
    return {way: (statistics.median(s for s, _ in rows), rows[-1][1]) for way, rows in found.items()}


def machine(arguments: argparse.Namespace) -> str:
    """The processor, in words; no name of a host."""
    if arguments.device.startswith("cuda"):
        return torch.cuda.get_device_name()
    known = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", known.read_text()) if known.exists() else None
    able, words = torch.cpu.get_capabilities(), {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
    has = next((word for key, word in words.items() if able.get(key)), "no bf16")
    return f"{found[1] if found else platform.processor()}, {arguments.threads} threads, {has}"


def table(arguments: argparse.Namespace) -> list[str]:
    """Lines of markdown: a table beside the published way, and one of what has none."""
    torch.set_num_threads(arguments.threads)
    allow_tf32(False)
    device = torch.device(arguments.device)
    best = {kind: measure_ceiling(device, kind) / 1e9 for kind in ("fp32", "bf16")}
    lines = [f"Ceilings (a 3x3 convolution of 256 channels): {best['fp32']:.0f} GFLOP/s fp32, {best['bf16']:.0f} bf16."]
    chosen = arguments.tasks or list(TASKS)
    for head, ways, tasks in (
        ("", list(WAYS), [task for task in chosen if task not in OURS_ALONE]),
        ("warping family", ["fp32", "auto"], [task for task in chosen if task in OURS_ALONE]),
    ):
        if not tasks:
            continue
        names = [WAYS[way] for way in ways]
        ratios = [name.removeprefix("ours, ") for name in names[1:]]
        lines += ["", f"| {head} | " + " | ".join([*names, *ratios, "memory, default"]) + " |"]
        lines += ["|" + "---|" * (2 + len(ways) + len(ratios))]
        print("\n".join(lines[-2:]))
        for task in tasks:
            lines.append(row(task, compare(arguments, task)))
            print(lines[-1], flush=True)
    return lines


def row(task: str, found: dict[str, tuple[float, float]]) -> str:
    """Times of all ways, how many times as fast the others are as the first, and memory."""
    (first, memory), *others = found.values()
    cells = [f"{seconds:.3g} s" for seconds, _ in found.values()]
    cells += [f"{first / seconds:.2f}x" for seconds, _ in others]
    cells.append(f"{found['auto'][1] / 1000:.1f} of {memory / 1000:.1f} GB")
    return f"| {TASKS[task]} | " + " | ".join(cells) + " |"


def write(name: str, command: str, lines: list[str]) -> None:
    """Put a table into the page, in place of an older one of the same machine and command."""
    text, title = PAGE.read_text(encoding="utf-8"), f"### {name}: `{command}`"
    part = "\n".join([title, "", *lines, ""])
    text = re.sub(rf"^{re.escape(title)}\n(?:(?!^#).*\n)*", "", text, flags=re.M)
    PAGE.write_text(text.rstrip("\n") + "\n\n" + part, encoding="utf-8", newline="\n")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], metavar="TASK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        work(arguments.tasks[0], arguments.way, arguments.device, arguments.threads, arguments.tiny)
        return
    lines = table(arguments)
    print("\n".join(["", machine(arguments), "", *lines]))
    if arguments.write:
        shown = [word for word in sys.argv[1:] if word != "--write"]
        write(machine(arguments), " ".join(["python benchmarks/speed.py", *shown]), lines)


if __name__ == "__main__":
    main()
