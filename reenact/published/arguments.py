"""Which of the authors' command-line arguments mean something here, and what."""

from typing import Any

_RENAMED = {"lr_gen": "learning_rate", "lr_dis": "discriminator_learning_rate", "beta1": "beta1", "random_seed": "seed"}
# Their name of a loss in `criterions`, its weight, and ours.
_LOSSES = (
    ("adversarial", None, "adversarial"),
    ("featmat", "fm_weight", "feature_matching"),
    ("perceptual", "perc_weight", "perceptual"),
    ("idt_embed", "idt_embed_weight", "face_perceptual"),
    ("dis_embed", "dis_embed_weight", "embedding_match"),
    ("dice", "dice_weight", "dice"),
)
# Where the code fixes what is a setting with us: the moving average's decay.
_EMA = {"meta": 0.999, "finetuned": 0.972}

_REASONS = {
    "the model file says it, or it was checked (sizes and kinds of the networks)": (
        "embedder",
        "generator",
        "discriminator",
        "image_size",
        "embed_channels",
        "pose_embedding_size",
        "num_channels",
        "max_num_channels",
        "dis_num_blocks",
        "in_channels",
        "out_channels",
        "gen_constant_input_size",
        "gen_num_residual_blocks",
        "gen_padding",
        "dis_padding",
        "norm_layer",
        "num_labels",
        "iteration",
        "finetune",
        "average_function",
        "weights_running_average",
        "gan_type",
    ),
    "our augmentation has settings of its own": (
        "use_affine_scale",
        "use_affine_shift",
        "use_pixelwise_augs",
        "draw_oval",
    ),
    "paths of that machine": (
        "data_root",
        "img_dir",
        "segm_dir",
        "kp_dir",
        "bboxes_dir",
        "train_split_path",
        "val_split_path",
        "experiment_dir",
        "experiments_dir",
        "checkpoint_path",
        "vgg_weights_dir",
    ),
    "length, logging and machinery of that run": (),
}


def convert_arguments(arguments: dict[str, Any], personal: bool) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Settings of our stage `meta` or `finetune` that train as the checkpoint was trained.

    Args:
        arguments: of the checkpoint.
        personal: whether it is a fine-tuned one.

    Returns:
        The settings that it states (nested, plain JSON), and the other arguments by the reason why they are ignored.
    """
    settings: dict[str, Any] = {ours: arguments[theirs] for theirs, ours in _RENAMED.items() if theirs in arguments}
    used = {*_RENAMED, "criterions", "optimizer", "batch_size", *(weight for _, weight, _ in _LOSSES)}
    optimizer = str(arguments.get("optimizer", "")).lower()
    if optimizer in ("adam", "radam"):
        settings["optimizer"] = optimizer
    if "batch_size" in arguments:
        settings["max_batch" if personal else "batch_size"] = arguments["batch_size"]
    if "n_frames_for_encoder" in arguments and not personal:
        settings["identity_frames"] = arguments["n_frames_for_encoder"]
        used.add("n_frames_for_encoder")
    settings["ema"] = _EMA["finetuned" if personal else "meta"]
    settings["losses"] = _losses(arguments)
    if personal:  # nothing of it is left in fine-tuning: the embedding is learned
        settings["losses"].pop("embedding_match", None)
    ignored: dict[str, list[str]] = {reason: [] for reason in _REASONS}
    for name in arguments:
        if name not in used:
            reason = next((r for r, names in _REASONS.items() if name in names), list(_REASONS)[-1])
            ignored[reason].append(name)
    return settings, ignored


def _losses(arguments: dict[str, Any]) -> dict[str, Any]:
    """Weights of the losses that were in use, 0 for the others; in the published form."""
    if "criterions" not in arguments:
        return {"form": "published"}
    active = {name.strip() for name in str(arguments["criterions"]).split(",")}
    weights = {
        ours: (arguments.get(weight, 1.0) if weight else 1.0) if theirs in active else 0.0
        for theirs, weight, ours in _LOSSES
    }
    return {"form": "published", **weights}
