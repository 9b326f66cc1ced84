"""How fast training, fine-tuning and driving are beside the published way of doing them, as ratios of one run.

Usage: python benchmarks/speed.py [TASK ...] [--rounds 5] [--threads N] [--write]     (8 minutes on two cores; 18 GB)
       python benchmarks/speed.py growth [--threads N]                                (how cost grows: 2 minutes)

Tasks: meta, finetune (preset published, 256 px, batch 2), drive (256 px), mini (fine-tuning at 128 px, batch 8);
without any, all. Each way of doing a task is a process of its own, and they take turns: once to warm up, then so many
rounds.
Medians are compared. --write puts the tables into docs/performance.md, in the part of this machine. On a GPU the same
command compares on the GPU (--device cuda); --tiny makes everything narrow, to try the script itself.
"""

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from published_files import convert_back
from reference import published

from reenact.avatar import Avatar
from reenact.data.samples import Batch
from reenact.models.architecture import PRESETS, Architecture
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.runtime.devices import pick_device
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import MetaSettings
from reenact.training.adversarial import AdversarialObjective
from reenact.training.learner import Learner
from reenact.training.loop import average_gradients, backward, update

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
TASKS = {
    "meta": "meta step, 256 px, batch 2, 8 identity frames",
    "finetune": "fine-tuning step, 256 px, batch 2",
    "mini": "fine-tuning step of mini, 128 px, batch 8",
    "drive": "8 driven frames, 256 px",
}
WAYS = {"reference": "published way", "fp32": "ours, fp32", "auto": "ours, default"}
LABELS, FRAMES = 10, 8


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


def learner_of(task: str, architecture: Architecture, precision: str) -> Learner:
    """Ours, as the stages build it; losses in the published form, so that both sides compute the same."""
    torch.manual_seed(0)
    chosen: dict[str, Any] = {"losses": {"form": "published"}, "precision": precision}
    if task == "meta":
        net = Reenactor(architecture).train()
        return Learner(net, build_discriminator(architecture, LABELS), MetaSettings(**chosen))
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
    """One step of training, to be called again and again."""
    architecture = architecture_of(task, tiny)
    learner = learner_of(task, architecture, "fp32" if way == "reference" else way)
    objective = AdversarialObjective(learner.settings)
    given = {k: v.to(device) for k, v in make_batch(task, architecture, 8 if task == "mini" else 2).items()}
    if way == "reference":
        losses = objective.image_losses
        networks = {"vgg19": losses.perceptual, "vgg16": losses.face_perceptual}
        vggs = {
            name: [(conv.weight.to(device), conv.bias.to(device)) for conv in network.convs]
            for name, network in networks.items()
            if network is not None
        }
        states = published_states(learner, architecture)
        training = published.Training({n: {k: v.to(device) for k, v in s.items()} for n, s in states.items()}, vggs)
        return lambda: training.step(given)
    learner.prepare(device)
    objective.to(device)
    frames = given["enc_rgbs"] if task == "meta" else given["enc_rgbs"][:, :0]
    batch = Batch(frames, *(given[name] for name in ("pose_rgbs", "target_rgbs", "mask", "label")), names=["a"])

    def step() -> None:
        backward(learner, batch.micro_batches(), objective)
        average_gradients(learner)
        update(learner)

    return step


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


def work(task: str, way: str, device_name: str, threads: int, tiny: bool) -> None:
    """Do the task once for each line that comes, and answer each with seconds and the most memory so far, MB."""
    if way == "reference":  # without what ours does to the process
        torch.set_num_threads(threads)
        device = torch.device(device_name)
    else:
        device = pick_device(device_name, threads)
    once = driving(way, device, tiny) if task == "drive" else training_step(task, way, device, tiny)
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
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
    with (
        worker(arguments, task, "reference") as reference,
        worker(arguments, task, "fp32") as exact,
        worker(arguments, task, "auto") as default,
    ):
        ways = dict(zip(WAYS, (reference, exact, default), strict=True))
        for once in ways.values():
            once()
        for _ in range(arguments.rounds):
            for way, once in ways.items():
                found.setdefault(way, []).append(once())
    return {way: (statistics.median(s for s, _ in rows), rows[-1][1]) for way, rows in found.items()}


def ceilings(device: torch.device, channels: int) -> dict[str, float]:
    """GFLOP/s of a 3x3 convolution, the best of three, in each precision."""
    found = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        x = torch.randn(8, channels, 64, 64, dtype=kind, device=device).contiguous(memory_format=torch.channels_last)
        conv = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device, kind, memory_format=torch.channels_last)
        times = []
        with torch.no_grad():
            for _ in range(4):
                began = time.perf_counter()
                conv(x)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - began)
        found[name] = 2 * x.numel() * channels * 9 / min(times[1:]) / 1e9
    return found


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
    """Lines of markdown."""
    torch.set_num_threads(arguments.threads)
    best = ceilings(torch.device(arguments.device), 32 if arguments.tiny else 256)
    lines = [
        f"Ceilings (a 3x3 convolution of 256 channels): {best['fp32']:.0f} GFLOP/s fp32, {best['bf16']:.0f} bf16.",
        "",
        "| | published way | ours, fp32 | ours, default | fp32 | default | memory, default |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in arguments.tasks or list(TASKS):
        found = compare(arguments, task)
        reference, memory = found["reference"]
        times = " | ".join(f"{found[way][0]:.3g} s" for way in WAYS)
        ratios = " | ".join(f"{reference / found[way][0]:.2f}x" for way in ("fp32", "auto"))
        share = f"{found['auto'][1] / 1000:.1f} of {memory / 1000:.1f} GB"
        lines.append(f"| {TASKS[task]} | {times} | {ratios} | {share} |")
        print(lines[-1], flush=True)
    return lines


def growth(arguments: argparse.Namespace) -> list[str]:
    """How driving grows with side and batch: frames a second of avatars of each side."""
    device = pick_device(arguments.device, arguments.threads)
    lines = ["| side, px | batch 1 | batch 2 | batch 8 |", "|---|---|---|---|"]
    for side in (128, 256, 512):
        base = PRESETS["mini"].to_json() | {"image_size": side}
        avatar = Avatar(Reenactor(Architecture.from_json(base, "growth"), personal=True), {}, device)
        rates = []
        for batch in (1, 2, 8):
            frames = torch.rand(8, 3, side, side, device=device)
            times = []
            for _ in range(arguments.rounds + 1):
                began = time.perf_counter()
                for rgb, _ in avatar.drive(frames, batch_size=batch):
                    rgb.cpu()
                times.append(time.perf_counter() - began)
            rates.append(8 / statistics.median(times[1:]))
        lines.append(f"| {side} | " + " | ".join(f"{rate:.3g} frames/s" for rate in rates) + " |")
        print(lines[-1], flush=True)
    return lines


def write(name: str, command: str, lines: list[str]) -> None:
    """Put a table into the page, in place of an older one of the same machine and command."""
    text, title = PAGE.read_text(encoding="utf-8"), f"### {name}: `{command}`"
    part = "\n".join([title, "", *lines, ""])
    text = re.sub(rf"^{re.escape(title)}\n(?:(?!^#).*\n)*", "", text, flags=re.M)
    PAGE.write_text(text.rstrip("\n") + "\n\n" + part, encoding="utf-8", newline="\n")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, "growth", []], metavar="TASK")
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
    lines = growth(arguments) if arguments.tasks == ["growth"] else table(arguments)
    print("\n".join(["", machine(arguments), "", *lines]))
    if arguments.write:
        shown = [word for word in sys.argv[1:] if word != "--write"]
        write(machine(arguments), " ".join(["python benchmarks/speed.py", *shown]), lines)


if __name__ == "__main__":
    main()
