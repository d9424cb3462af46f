"""Tensors as files: the safetensors format, bf16, block-wise FP8, MXFP4 and whole numbers.

Written here rather than with the library, so that the bytes are the same with every version of it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from known_answer.weights import Array, Tensors

BLOCK = 128
"""Rows and columns of FP8 weights that share a scale, as in DeepSeek's and Qwen's checkpoints."""

MX_BLOCK = 32
"""Neighbours in a row that share a scale in MXFP4."""

_FP8_MAX = 448.0
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
_Blob = tuple[str, tuple[int, ...], bytes]


def render(
    tensors: Tensors,
    fp8: Callable[[str], bool] = lambda _: False,
    whole: frozenset[str] = frozenset(),
    mxfp4: Callable[[str], bool] = lambda _: False,
) -> bytes:
    """The file: header length, JSON header padded to 8 bytes, data in header order.

    Args:
        tensors: By name; matrices are (out, in).
        fp8: Whether the tensor of this name is written in FP8, its scales beside it as ``NAME_scale_inv``; others are
            written in bf16, those in ``whole`` as 64-bit integers.
        whole: Names of tensors of whole numbers.
        mxfp4: Whether the tensor of this name is written in MXFP4, as ``NAME_blocks`` and ``NAME_scales``.
    """
    stored: dict[str, _Blob] = {}
    for name, tensor in tensors.items():
        if fp8(name):
            values, scales = _fp8(tensor)
            stored[name] = ("F8_E4M3", tensor.shape, values)
            stored[f"{name}_scale_inv"] = ("F32", scales.shape, scales.astype("<f4").tobytes())
        elif mxfp4(name):
            blocks, exponents = _mxfp4(tensor)
            stored[f"{name}_blocks"] = ("U8", blocks.shape, blocks.tobytes())
            stored[f"{name}_scales"] = ("U8", exponents.shape, exponents.tobytes())
        elif name in whole:
            stored[name] = ("I64", tensor.shape, tensor.astype("<i8").tobytes())
        else:
            stored[name] = ("BF16", tensor.shape, _bf16(tensor))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs, offset = [], 0
    for name, (dtype, shape, blob) in sorted(stored.items()):
        end = offset + len(blob)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        blobs.append(blob)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *blobs])


def _bf16(array: Array) -> bytes:
    """Little-endian bf16 bytes, rounded to nearest even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")).tobytes()


def _e4m3() -> npt.NDArray[np.float64]:
    """The values of the codes 0 to 126 of FP8 e4m3fn, ascending: 4 bits of exponent with bias 7, 3 of mantissa."""
    codes = np.arange(127)
    exponent, mantissa = codes >> 3, (codes & 7) / 8
    return np.where(exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7))


def _fp8(array: Array) -> tuple[bytes, npt.NDArray[np.float64]]:
    """Bytes, and the factor that each block of values is multiplied by to be what it was."""
    rows, columns = array.shape
    padded = np.zeros((-(-rows // BLOCK) * BLOCK, -(-columns // BLOCK) * BLOCK))
    padded[:rows, :columns] = array
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    largest = np.abs(blocks).max(axis=(1, 3))
    # Powers of two: what has four significant bits stays what it is.
    scales = np.exp2(np.ceil(np.log2(np.where(largest == 0, _FP8_MAX, largest) / _FP8_MAX)))
    scaled = (blocks / scales[:, None, :, None]).reshape(padded.shape)[:rows, :columns]
    values = _e4m3()
    codes = np.searchsorted((values[1:] + values[:-1]) / 2, np.abs(scaled))
    return (codes + np.where(scaled < 0, 128, 0)).astype(np.uint8).tobytes(), scales


def _mxfp4(array: Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Blocks (..., row / 32, 16), two values a byte with the lower half first, and their scales as exponents of 2.

    The OCP microscaling format: values are e2m1, the scale is e8m0 with bias 127.

    Raises:
        ValueError: A value is not exactly one of the format.
    """
    blocks = array.reshape(*array.shape[:-1], -1, MX_BLOCK).astype(np.float64)
    largest = np.abs(blocks).max(axis=-1)
    exponents = np.where(largest > 0, np.floor(np.log2(np.where(largest > 0, largest, 1))) - 2, 0)
    scaled = blocks / 2.0 ** exponents[..., None]
    codes = np.searchsorted(_E2M1, np.abs(scaled))
    if (_E2M1[np.minimum(codes, len(_E2M1) - 1)] != np.abs(scaled)).any():
        raise ValueError("not every value can be written in MXFP4")
    codes = (codes + np.where(scaled < 0, 8, 0)).astype(np.uint8)
    packed = (codes[..., ::2] + 16 * codes[..., 1::2]).astype(np.uint8)
    return packed, (exponents + 127).astype(np.uint8)
