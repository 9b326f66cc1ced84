"""Going on with a run that was stopped."""

from reenact.runtime.errors import UserError
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner


def resume(learner: Learner, run: RunFolder, at_most: int) -> bool:
    """Go on from the newest checkpoint of the run folder that is not past step `at_most`, if there is one.

    Returns:
        Whether there was.

    Raises:
        UserError: the ranks see different checkpoints.
    """
    saved = run.latest(at_most)
    if saved:
        learner.load_state_dict(saved[1])
    if len(set(distributed.all_gather([learner.step]))) > 1:
        raise UserError(
            f"{run.path}: processes see different checkpoints in it; it must lie on a disk that all machines share"
        )
    if saved and distributed.is_main():
        print(f"{run.path.name}: resuming from step {learner.step} ({run.path})", flush=True)
    return saved is not None
