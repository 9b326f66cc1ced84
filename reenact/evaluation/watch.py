"""Watching a sweep while it is trained: is it past its best, is it worth going on?

A few frames of those that selection will be made on (never those that check it), measured with the metrics and judged
by the rule of stages score and select. What is trained therefore depends on them, but how does not: a model of an
iteration is the same whether it was watched or not.
"""

import math
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.sequence import SELECT, shown_frames
from reenact.evaluation.measure import ROLES, IdentityReference, Measurer, show
from reenact.evaluation.metrics import METRICS
from reenact.evaluation.tradeoff import choose, judge, like_the_person
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.runtime.errors import UserError
from reenact.settings.score import ScoreSettings
from reenact.settings.select import SelectSettings

FRAMES, DESCRIBED = 48, 16
"""Most frames of each protocol, and of them those whose identity is measured, as of the real person: 4 s an iteration."""

CLEAR_TURN = 0.25
"""Iterations whose combined score is this much above the best are clearly worse."""

COLUMNS = ["iteration", "identity_error", "pose_error", "combined", "left_out", "best", "turned"]


class Watch:
    """Measures the models of a sweep one by one. Use it as a context manager.

    Args:
        identity: crops and mattes of the person.
        driver: crops and mattes of the driver of the cross protocol.
        size: side of the models' images, px.
        device: where to drive.
        score: how to measure.
        select: how to weigh.
    """

    def __init__(
        self,
        identity: tuple[Path, Path],
        driver: tuple[Path, Path],
        size: int,
        device: str,
        score: ScoreSettings,
        select: SelectSettings,
    ) -> None:
        # So few frames tell errors apart, but not how much a model trembles.
        self._device, self._settings = device, select.model_copy(update={"max_jitter": math.inf})
        score = score.model_copy(update={"identity_frames": DESCRIBED, "reference_frames": DESCRIBED})
        self._rows: dict[int, dict] = {}
        self._frames: dict[int, pd.DataFrame] = {}
        clips = {"self": tuple(map(Clip, identity)), "cross": tuple(map(Clip, driver))}
        self._drivers = {protocol: pair[0] for protocol, pair in clips.items()}
        with ExitStack() as stack:
            measurer = Measurer(stack.enter_context(FaceFinder(min_confidence=score.min_confidence)), score)
            tables = {
                protocol: shown_frames(pair[0], ROLES[protocol], FRAMES, SELECT) for protocol, pair in clips.items()
            }
            if tables["cross"].empty:
                raise UserError(f"{driver[0]}: no frame with a face to drive with; give drive.driver another driver")
            shown = {
                protocol: show(clips[protocol], table, size, measurer)
                for protocol, table in tables.items()
                if len(table)
            }
            self._subject = IdentityReference(clips["self"], size, measurer, score.reference_frames, shown)
            self._open = stack.pop_all()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def see(self, iteration: int, model: Path) -> None:
        """Drive and measure the model of one iteration; nothing happens for one that was seen before."""
        if iteration in self._rows:
            return
        avatar, row, frames = Avatar.load(model, self._device), {"iteration": iteration}, []
        for protocol in self._subject.shown:
            output = self._subject.output(avatar.drive(self._subject.drivers(protocol, self._drivers[protocol])))
            values, by_frame = self._subject.compare(output, protocol, pictures=False)
            row |= {f"{protocol}_{name}": values[name] for name in METRICS}
            frames.append(by_frame.assign(model=str(iteration), protocol=protocol))
        self._rows[iteration], self._frames[iteration] = row, pd.concat(frames)

    def table(self, iterations: list[int]) -> pd.DataFrame:
        """What was seen of `iterations`: COLUMNS, a row each."""
        known = self._judged(iterations)
        best = choose(known).iteration
        past = [turned(self._judged(iterations[: i + 1]), self._settings) for i in range(len(iterations))]
        return known.assign(best=known["iteration"] == best, turned=past)[COLUMNS]

    def turned(self, iterations: list[int]) -> bool:
        """Whether the sweep is clearly past its best after `iterations`, all of them seen."""
        return turned(self._judged(iterations), self._settings)

    def goes_on(self, iterations: list[int]) -> bool:
        """Whether more than `iterations`, all of them seen, may be better."""
        return goes_on(self._judged(iterations), self._settings)

    def _judged(self, iterations: list[int]) -> pd.DataFrame:
        rows = pd.DataFrame([self._rows[i] for i in iterations])
        return judge(rows, pd.concat([self._frames[i] for i in iterations]), self._settings)


def turned(rows: pd.DataFrame, settings: SelectSettings) -> bool:
    """Whether a sweep so far is clearly past its best: the last two iterations are both clearly worse (or left out).

    Not before the best is clearly like the person: likeness may come late, and get worse at first.

    Args:
        rows: as `judge` returns, for the iterations so far.
    """
    tuned = rows[rows["iteration"] >= 1]
    scores = tuned["combined"].to_numpy()
    if len(scores) < 3 or np.isnan(scores).all():
        return False
    best, last = int(np.nanargmin(scores)), scores[-2:]
    if not like_the_person(rows, tuned["identity_error"].iloc[best], settings):
        return False
    return best < len(scores) - 2 and bool((np.isnan(last) | (last > scores[best] + CLEAR_TURN)).all())


def goes_on(rows: pd.DataFrame, settings: SelectSettings) -> bool:
    """Whether a sweep that is trained may be better further on: its last iteration is its best, or the most like the person while its best is not clearly so.

    Args:
        rows: as `judge` returns, for all iterations.
    """
    best, last = choose(rows).iteration, rows["iteration"].iloc[-1]
    errors = rows.set_index("iteration")["identity_error"]
    return best == last or (errors.idxmin() == last and not like_the_person(rows, errors[best], settings))
