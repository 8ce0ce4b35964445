# SPDX-License-Identifier: Apache-2.0
"""One camera's video files: frames of many episodes in a row, a new file when one is large."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.export.lerobot_format import file_of, VIDEO_MB, VIDEO_PATH

CODEC = 'libx264'
OPTIONS = {'crf': '18', 'g': '2', 'preset': 'veryfast'}  # a key frame every other: random access


class VideoFiles:
    """Append episodes with `add`; `close` at the end. A file is whole when the next one begins."""

    def __init__(self, root: Path, key: str, fps: int, size: tuple[int, int]) -> None:
        """`size` is (width, height) px; both must be even for yuv420p."""
        width, height = size
        if width % 2 or height % 2:
            raise ExchangeError(f'{key}: frames are {width} x {height} px, video needs even sides')
        self._root, self._key, self._fps, self._size = root, key, fps, size
        self._container: Any = None
        self._stream: Any = None
        self._number = -1
        self._frames = 0
        self._path = root

    def add(self, frames: Iterator[np.ndarray]) -> dict[str, Any]:
        """Append one episode of RGB frames; return its entry of meta/episodes."""
        if self._container is None or self._path.stat().st_size > VIDEO_MB * 1e6:
            self._next_file()
        first = self._frames
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts = self._frames
            frame.time_base = Fraction(1, self._fps)
            self._container.mux(self._stream.encode(frame))
            self._frames += 1
        prefix = f'videos/{self._key}'
        where = {f'{prefix}/{name}': value for name, value in file_of(self._number).items()}
        return {**where, f'{prefix}/from_timestamp': first / self._fps,
                f'{prefix}/to_timestamp': self._frames / self._fps}

    def close(self) -> None:
        """Finish the file."""
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._container = None

    def _next_file(self) -> None:
        self.close()
        self._number += 1
        self._frames = 0
        self._path = self._root / VIDEO_PATH.format(video_key=self._key, **file_of(self._number))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._path), 'w')
        self._stream = self._container.add_stream(CODEC, rate=self._fps, options=OPTIONS)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = 'yuv420p'
        self._stream.thread_count = 1


def read_frames(path: Path, start: float, count: int, fps: float) -> Iterator[np.ndarray]:
    """Yield `count` RGB frames [H, W, 3] of a video from `start` [s] on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        if start > 0:
            container.seek(int(max(0.0, start - 1e-3) / stream.time_base), stream=stream)
        given = 0
        for frame in container.decode(stream):
            if frame.time is not None and frame.time < start - 0.5 / fps:
                continue
            if given == count:
                return
            given += 1
            yield frame.to_ndarray(format='rgb24')
    if given < count:
        raise ExchangeError(f'{path}: has {given} frames from {start:.2f} s on, must have {count}')
