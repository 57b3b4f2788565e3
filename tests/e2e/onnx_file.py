"""A linear ONNX model, y = x W, written byte by byte (onnx.proto of ONNX 1.x, IR version 8): no library needed."""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protobuf message: an integer, or bytes of any kind with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor_type(name: str, width: int) -> bytes:
    """ValueInfoProto of a float tensor [N, width]."""
    shape = field(1, field(2, "N")) + field(1, field(1, width))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def linear_model(weights: list[list[float]]) -> bytes:
    """Input "x" [N, rows of weights], output "y" [N, columns of weights]."""
    rows, columns = len(weights), len(weights[0])
    flat = struct.pack(f"<{rows * columns}f", *(w for row in weights for w in row))
    node = field(1, "x") + field(1, "w") + field(2, "y") + field(4, "MatMul")
    initializer = field(1, rows) + field(1, columns) + field(2, 1) + field(8, "w") + field(9, flat)
    graph = field(1, node) + field(2, "linear") + field(5, initializer) + field(11, tensor_type("x", rows)) + field(12, tensor_type("y", columns))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))
