"""Stage `import_published`: a checkpoint of the authors' code becomes a model file of ours."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reenact.models.architecture import Architecture
from reenact.models.discriminator import Discriminator
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.published.arguments import convert_arguments
from reenact.published.checkpoint import PublishedCheckpoint, State, published_architecture, read_checkpoint
from reenact.published.weights import convert
from reenact.runtime.errors import UserError
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import MetaSettings
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner

_BUFFERS = ("weight_u", "weight_v", "running_mean", "running_var", "num_batches_tracked")


def import_published(
    *, checkpoint: Path, model: Path, checkpoint_out: Path | None = None, weights: Literal["average", "raw"] = "average"
) -> None:
    """Convert a meta or fine-tuned checkpoint (.pth) and print what was kept, ignored, and why.

    A meta-model keeps its discriminator without the label rows, which belong to the clips it was trained on, and can be
    fine-tuned; an avatar keeps neither discriminator nor spectral norms, and can be driven.

    Args:
        checkpoint: the authors' file.
        model: model file to write (.safetensors).
        checkpoint_out: folder for a checkpoint of ours that holds everything that training needs to go on: raw and
            averaged networks, the discriminator with its rows, the optimizers, the step; None = none.
        weights: which weights the model gets: the moving average, as both codes drive with, or the raw ones.

    Raises:
        UserError: the file cannot be read or holds something else; nothing is written then.
    """
    found = read_checkpoint(checkpoint)
    architecture = published_architecture(found.arguments, checkpoint)
    if weights == "average" and not found.averages:
        raise UserError(f"{checkpoint}: has no running_averages; take its raw weights with --weights raw")
    raw, raw_discriminator, personal = convert(
        found.embedder, found.generator, found.discriminator, architecture=architecture, source=str(checkpoint)
    )
    _check_finite(raw | raw_discriminator, checkpoint)
    average = raw
    if found.averages:
        embedder, generator = found.averages.values()
        average, _, same_form = convert(
            embedder,
            generator,
            found.discriminator,
            architecture=architecture,
            source=f"{checkpoint}: running_averages",
        )
        _check_finite(average, checkpoint)
        if same_form != personal:
            raise UserError(f"{checkpoint}: running_averages.generator and generator are not of the same form")
    settings, ignored = convert_arguments(found.arguments, personal)
    metadata = _metadata(found, weights, settings)
    report = _describe(found, architecture, weights, settings, ignored)
    net = _filled(Reenactor(architecture, personal), average if weights == "average" else raw)
    discriminator = _filled(
        build_discriminator(architecture, len(found.discriminator["embed.weight_orig"])), raw_discriminator
    )
    if checkpoint_out:
        state, note = _training_state(found, architecture, raw, average, discriminator, settings)
        RunFolder(checkpoint_out).save(found.iteration, state)
        report.append(
            f"checkpoint {checkpoint_out}: step {found.iteration}; raw and averaged networks, discriminator; {note}"
        )
    save_model(model, net, metadata, None if personal else discriminator)
    size = model.stat().st_size / 1e6
    use = "an avatar, to be driven" if personal else "a meta-model, to be fine-tuned or driven"
    report.append(f"model      {model}: {size:.0f} MB; {use}")
    print("\n".join(report), flush=True)


def _metadata(found: PublishedCheckpoint, weights: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Where the model comes from, for its file. No paths: they tell about other people's machines."""
    with found.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "stage": "import_published",
        "source": found.path.name,
        "sha256": digest,
        "form": found.form,
        "iteration": found.iteration,
        "weights": weights,
        "settings": settings,
    }


def _describe(
    found: PublishedCheckpoint,
    architecture: Architecture,
    weights: str,
    settings: dict[str, Any],
    ignored: dict[str, list[str]],
) -> list[str]:
    """The report: what was found, kept and ignored."""
    labels = len(found.discriminator["embed.weight_orig"])
    meta = found.form == "meta"
    taken = "moving average of encoders and generator" if weights == "average" else "raw encoders and generator"
    lines = [
        f"found      {found.path}: {'a meta-model' if meta else 'a fine-tuned avatar'} of the published code, "
        f"iteration {found.iteration}, {architecture.image_size} px, {labels} label{'s' if labels > 1 else ''}",
        f"kept       {taken}" + (", discriminator (fine-tuning starts from it)" if meta else ""),
        "kept       settings, as ours: " + ", ".join(f"{key} {value}" for key, value in _flat(settings)),
    ]
    if weights == "average":
        lines.append(
            "ignored    raw encoders and generator: both codes drive with the average (--weights raw takes them)"
        )
    if not meta:
        lines.append("ignored    discriminator: an avatar is only driven")
    else:
        lines.append(f"ignored    label rows ({labels}): they belong to the clips of that training")
    if found.optimizers:
        lines.append("ignored    optimizers: only a checkpoint has them (--checkpoint-out)")
    lines += [f"ignored    {', '.join(names)}: {reason}" for reason, names in ignored.items() if names]
    return lines + [f"ignored    {name}: unknown" for name in found.others]


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _check_finite(state: State, source: Path) -> None:
    bad = next((key for key, value in state.items() if not torch.isfinite(value).all()), None)
    if bad:
        raise UserError(f"{source}: {bad}: has values that are not finite; the training that wrote it had failed")


def _filled(net: Any, state: State) -> Any:
    """The network in evaluation mode with these weights."""
    net.load_state_dict(state)
    return net.eval()


def _training_state(
    found: PublishedCheckpoint,
    architecture: Architecture,
    raw: State,
    average: State,
    discriminator: Discriminator,
    settings: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """A checkpoint as `Learner` writes it, and what became of the optimizers, in words."""
    personal = found.form == "finetuned"
    net = _filled(Reenactor(architecture, personal), raw)
    if personal:
        net.requires_grad_(False)
        net.generator.requires_grad_(True)
        net.identity_embedding.requires_grad_(True)
    learner = Learner(net, discriminator, (FinetuneSettings if personal else MetaSettings)(**settings))
    learner.average.load_state_dict(average)
    learner.step = found.iteration
    if set(found.optimizers) != {"optimizer_G", "optimizer_D"}:
        return learner.state_dict(), "no optimizer states in it: they start anew"
    try:
        moments = _moments(found, architecture)
    except (KeyError, IndexError, TypeError, AttributeError, RuntimeError, UserError) as error:
        return learner.state_dict(), f"its optimizer states do not fit its networks ({error}): they start anew"
    for optimizer, module, found_moments in zip(learner.optimizers, (net, discriminator), moments, strict=True):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                optimizer.state[parameter] = {key: values[name] for key, values in found_moments.items()}
    return learner.state_dict(), "with its optimizer states"


def _moments(found: PublishedCheckpoint, architecture: Architecture) -> list[dict[str, dict[str, Tensor]]]:
    """Adam's step, exp_avg and exp_avg_sq by our parameter names, for both optimizers.

    Theirs are numbered in the order of the parameters: generator, then (in meta-learning) embedder; discriminator. A
    moment has the shape of its parameter, so it is renamed as the parameter is, by `convert`.
    """
    order = {
        name: [key for key in getattr(found, name) if key.rsplit(".", 1)[-1] not in _BUFFERS]
        for name in ("embedder", "generator", "discriminator")
    }
    sides = (
        ("optimizer_G", [("generator", k) for k in order["generator"]] + [("embedder", k) for k in order["embedder"]]),
        ("optimizer_D", [("discriminator", k) for k in order["discriminator"]]),
    )
    converted: dict[str, list[State]] = {}
    steps: list[Tensor] = []
    for moment in ("exp_avg", "exp_avg_sq"):
        states = {name: dict(getattr(found, name)) for name in order}
        for optimizer, keys in sides:
            numbered = found.optimizers[optimizer]["state"]
            for number in sorted(numbered):
                part, key = keys[number]
                states[part][key] = numbered[number][moment]
        reenactor, discriminator, _ = convert(*states.values(), architecture=architecture, source=moment)
        converted[moment] = [reenactor, discriminator]
    for optimizer, _ in sides:
        numbered = found.optimizers[optimizer]["state"]
        steps.append(torch.tensor(float(max(int(entry["step"]) for entry in numbered.values()))))
    return [
        {
            "exp_avg": converted["exp_avg"][side],
            "exp_avg_sq": converted["exp_avg_sq"][side],
            "step": dict.fromkeys(converted["exp_avg"][side], steps[side]),
        }
        for side in (0, 1)
    ]
