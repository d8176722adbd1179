from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_Scalar = TypeVar("_Scalar", bound=np.generic)

class ResampleStream:
    def __init__(
        self, in_rate: float, out_rate: float, num_channels: int, dtype: str = "float32", quality: str = "HQ"
    ) -> None: ...
    def resample_chunk(self, x: npt.NDArray[Any], last: bool = False) -> npt.NDArray[Any]: ...

def resample(x: npt.NDArray[_Scalar], in_rate: float, out_rate: float, quality: str = "HQ") -> npt.NDArray[_Scalar]: ...
