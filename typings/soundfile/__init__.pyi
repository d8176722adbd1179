import os
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

class LibsndfileError(RuntimeError):
    @property
    def error_string(self) -> str: ...

class SoundFile:
    samplerate: int
    channels: int
    frames: int
    format: str
    subtype: str
    extra_info: str
    def __init__(self, file: str | os.PathLike[str] | int, mode: str = "r") -> None: ...
    def read(
        self, frames: int = -1, dtype: Literal["float32"] = "float32", always_2d: bool = False
    ) -> npt.NDArray[np.float32]: ...
    def close(self) -> None: ...

@overload
def read(
    file: Any,
    frames: int = -1,
    *,
    dtype: Literal["int16"],
    always_2d: bool = False,
    samplerate: int | None = None,
    channels: int | None = None,
    format: str | None = None,
    subtype: str | None = None,
) -> tuple[npt.NDArray[np.int16], int]: ...
@overload
def read(file: Any, *, dtype: Literal["float32"], always_2d: bool = False) -> tuple[npt.NDArray[np.float32], int]: ...
def write(
    file: Any,
    data: npt.ArrayLike,
    samplerate: int,
    subtype: str | None = None,
    format: str | None = None,
) -> None: ...
