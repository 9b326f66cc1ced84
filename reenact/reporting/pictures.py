"""Pictures as data: URIs, so that a page needs no other file."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

THUMBNAIL = 160
"""Side of the contact sheets' pictures, px; shown at half of it, so that they are sharp on fine screens."""


@dataclass(frozen=True)
class ThemedPicture:
    """A picture as data: URIs for a light and for a dark page."""

    light: str
    dark: str


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a data: URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def thumbnail(crop: np.ndarray, matte: np.ndarray | None) -> str:
    """A crop above its matte as a JPEG."""
    parts = [crop] if matte is None else [crop, np.repeat(matte[..., None], 3, axis=2)]
    small = [cv2.resize(part, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for part in parts]
    return jpeg(np.concatenate(small))


def poster(video: Path) -> str:
    """The first picture of a video, shown until it is played."""
    with av.open(str(video)) as container:
        return jpeg(next(container.decode(video=0)).to_ndarray(format="rgb24"))


def jpeg(image: np.ndarray) -> str:
    """A uint8 RGB image as a JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    return data_uri(data.tobytes(), "image/jpeg")


def png(path: Path | None) -> str | None:
    """A PNG file, if there is one."""
    return data_uri(path.read_bytes(), "image/png") if path else None


def draw_themed(draw: Callable[[pd.DataFrame, bool], Figure], table: pd.DataFrame) -> ThemedPicture:
    """What `draw(table, dark)` draws, for both kinds of page."""
    uris = []
    for dark in (False, True):
        figure, buffer = draw(table, dark), io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=140)
        uris.append(data_uri(buffer.getvalue(), "image/png"))
    return ThemedPicture(*uris)
