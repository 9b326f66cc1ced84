"""De-interlacing, frame by frame, so that times stay as they are."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.filter


def deinterlaced(pictures: Iterator[tuple[Any, bool]], time_base: Fraction) -> Iterator[tuple[Any, Any, bool]]:
    """Each frame as decoded, as it is to be shown, and its mark; one for one, so that times stay as they are.

    From the first interlaced frame on all go through the filter, which looks at neighbours; progressive ones come out
    as they are.
    """
    graph: _Filter | None = None
    for picture, suspect in pictures:
        if graph is not None and not graph.takes(picture):
            yield from graph.finish()
            graph = None
        if graph is None and picture.interlaced_frame:
            graph = _Filter(picture, time_base)
        if graph is None:
            yield picture, picture, suspect
        else:
            yield from graph.put(picture, suspect)
    if graph is not None:
        yield from graph.finish()


class _Filter:
    """ffmpeg's bwdif for frames of one size and format, in the mode that gives one frame for each."""

    def __init__(self, picture: Any, time_base: Fraction) -> None:
        self._kind = (picture.width, picture.height, picture.format.name)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()
        self._held: deque[tuple[Any, bool]] = deque()

    def takes(self, picture: Any) -> bool:
        """Whether a frame is of the size and format that the filter was made for."""
        return self._kind == (picture.width, picture.height, picture.format.name)

    def put(self, picture: Any, suspect: bool) -> Iterator[tuple[Any, Any, bool]]:
        """Give one frame in, and get those that are ready."""
        self._held.append((picture, suspect))
        self._graph.push(picture)
        yield from self._ready()

    def finish(self) -> Iterator[tuple[Any, Any, bool]]:
        """Get the frames that are left."""
        self._graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[Any, Any, bool]]:
        while self._held:
            try:
                shown = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            picture, suspect = self._held.popleft()
            yield picture, shown if picture.interlaced_frame else picture, suspect
