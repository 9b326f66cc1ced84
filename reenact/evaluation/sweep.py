"""The folder of models that fine-tuning leaves: one file an iteration, 000030.safetensors."""

from pathlib import Path

from reenact.runtime.errors import UserError


def sweep_models(sweep: Path) -> dict[int, Path]:
    """The models of a sweep folder by iteration, in increasing order.

    Raises:
        UserError: there is none.
    """
    found = {int(path.stem): path for path in sweep.glob("*.safetensors") if path.stem.isdecimal()}
    if not found:
        raise UserError(
            f"{sweep}: no model in it (expected files such as 000030.safetensors); run stage finetune first"
        )
    return dict(sorted(found.items()))
