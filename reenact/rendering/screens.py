"""Where live pictures go: a window, a virtual camera, or a file."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from reenact.provenance.stamp import Stamp
from reenact.rendering.encode import write_video
from reenact.runtime.errors import UserError

Show = Callable[[np.ndarray, float], bool]
"""Shows a picture (uint8 RGB, H x W x 3) of a time (s); False when the user wants no more."""

TITLE = "reenact (q: quit)"
HINT = "give --output PATH.mp4 (a file) or --output virtual-camera"


@contextmanager
def open_screen(output: str, width: int, height: int, stamp: Stamp | None = None) -> Iterator[Show]:
    """Open what live pictures are shown on.

    Args:
        output: window, virtual-camera, or the path of an mp4.
        width, height: of the pictures, px, even.
        stamp: what the pictures say about themselves; None = nothing.

    Raises:
        UserError: it is not to be had on this machine.
    """
    if output == "window":
        screen = _window()
    elif output == "virtual-camera":
        screen = _virtual_camera(width, height)
    elif output.endswith(".mp4"):
        screen = _file(Path(output), width, height, stamp)
    else:
        raise UserError(
            f"--output: {output!r}; allowed: window, virtual-camera, or the path of a file that ends in .mp4"
        )
    with screen as show:
        mark = stamp.marker(width, height) if stamp and not output.endswith(".mp4") else None
        yield (lambda image, time: show(mark(image, time), time)) if mark else show


@contextmanager
def _window() -> Iterator[Show]:
    if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        raise UserError(f"--output window: this OpenCV is built without windows (opencv-python-headless); {HINT}")
    # Without a display the window toolkit would end the whole program.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UserError(f"--output window: there is no display here (DISPLAY is not set); {HINT}")
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE)
    except cv2.error as error:
        raise UserError(f"--output window: no window can be opened ({error.err}); {HINT}") from None

    def show(image: np.ndarray, _: float) -> bool:
        """Show a picture; q, Escape and closing the window end it."""
        cv2.imshow(TITLE, image[..., ::-1])
        key = cv2.waitKey(1) & 0xFF
        return key not in (ord("q"), 27) and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


@contextmanager
def _virtual_camera(width: int, height: int) -> Iterator[Show]:
    if find_spec("pyvirtualcam") is None:
        raise UserError(
            "--output virtual-camera: the package pyvirtualcam is not installed; pip install 'reenact[virtual-camera]'"
        )
    import pyvirtualcam

    try:
        camera = pyvirtualcam.Camera(width, height, fps=30)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--output virtual-camera: none can be opened ({reason}). Linux: sudo modprobe v4l2loopback; macOS and "
            "Windows: install OBS; or give --output PATH.mp4 (a file)"
        ) from None

    def show(image: np.ndarray, _: float) -> bool:
        """Send a picture."""
        camera.send(image)
        return True

    with camera:
        yield show


@contextmanager
def _file(path: Path, width: int, height: int, stamp: Stamp | None) -> Iterator[Show]:
    last: list[tuple[np.ndarray, float]] = []
    with write_video(path, width, height, preset="veryfast", stamp=stamp) as video:

        def show(image: np.ndarray, time: float) -> bool:
            """Write the picture before this one, whose duration is known now."""
            if last:
                before, since = last.pop()
                video.add(before, since, time - since)
            last.append((image, time))
            return True

        yield show
        if not last:
            raise UserError(f"--output {path}: no face was seen, so there is nothing to write")
        video.add(*last.pop(), 1 / 30)
