"""Small ONNX models, written by hand: onnxruntime reads them, and nothing else is needed to make them.

A file is a protocol buffer (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): fields of a number and a value.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["mean_model"]


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    data = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | 2) + _number(len(data)) + data


def _value(name: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_field(1, _field(1, size)) for size in shape)
    tensor = _field(1, 1) + _field(2, dims)  # float32
    return _field(1, name) + _field(2, _field(1, tensor))


def mean_model(shape: Sequence[int] = (1, 80, 800), name: str = "input_features") -> bytes:
    """Answers with the logistic function of the mean of its input."""
    mean = _field(1, name) + _field(2, "mean") + _field(4, "ReduceMean")
    mean += _field(5, _field(1, "keepdims") + _field(3, 0) + _field(20, 2))
    logistic = _field(1, "mean") + _field(2, "odds") + _field(4, "Sigmoid")
    graph = _field(1, mean) + _field(1, logistic) + _field(2, "test")
    graph += _field(11, _value(name, shape)) + _field(12, _value("odds", ()))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))
