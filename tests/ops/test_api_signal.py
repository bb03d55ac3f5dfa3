"""Every public function of `tf.signal`, `tf.quantization` and `tf.audio`: programs, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree
from ops.operands import FLOATS

WIDE = ("float32", "float64")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def complexes(*shape: int, dtype: Any = np.complex64) -> np.ndarray:
    return (numbers(*shape) + 1j * numbers(*shape, seed=1)).astype(dtype)


signal = Programs(
    tf.signal,
    dict.fromkeys(("fftnd", "ifftnd", "rfftnd", "irfftnd"), "TensorFlow has no CPU kernel of it"),
)

for suffix, shape in (("", (3, 8)), ("2d", (2, 4, 6)), ("3d", (2, 3, 4, 5))):
    for dtype in (np.complex64, np.complex128):
        signal(f"fft{suffix}", complexes(*shape, dtype=dtype))
        signal(f"ifft{suffix}", complexes(*shape, dtype=dtype))
    signal(f"rfft{suffix}", numbers(*shape), dtypes=WIDE)
    signal(f"irfft{suffix}", complexes(*shape))
    rank = int(suffix[:1] or 1)
    for lengths in ([3] * rank, [9] * rank):
        signal(f"rfft{suffix}", numbers(*shape), lengths)
        signal(f"irfft{suffix}", complexes(*shape), lengths)
signal("fft", complexes(2, 7), gradients=False)
for name in ("fftshift", "ifftshift"):
    for axes in (None, -1, [0, 2]):
        signal(name, numbers(3, 4, 5), axes)
for kind in (1, 2, 3, 4):
    for norm in (None, "ortho") if kind != 1 else (None,):
        for name in ("dct", "idct"):
            signal(name, numbers(2, 9), type=kind, norm=norm)
    if kind != 4:
        signal("dct", numbers(2, 9), type=kind, n=6)
        signal("dct", numbers(2, 9), type=kind, n=12)
signal("dct", numbers(2, 9), dtypes=WIDE)
for name in ("hann_window", "hamming_window"):
    for periodic in (True, False):
        for length in (0, 1, 8, 9):
            signal(name, np.int32(length), periodic)
signal("hann_window", 9, dtype=tf.float64)
for name in ("kaiser_window", "kaiser_bessel_derived_window"):
    signal(name, 8)
    signal(name, 8, beta=4.0)
signal("vorbis_window", 8)
signal("frame", numbers(2, 21), 6, 4)
signal("frame", numbers(2, 21), 6, 4, pad_end=True, pad_value=0.5)
signal("frame", numbers(21, 2), 6, 7, pad_end=True, axis=0)
signal("frame", numbers(2, 21), np.int32(6), np.int32(4))
signal("overlap_and_add", numbers(2, 5, 6), 4, dtypes=WIDE)
signal("overlap_and_add", numbers(2, 5, 6), np.int32(6))
for length in (None, 16):
    signal("stft", numbers(2, 40), 10, 5, length)
    signal("inverse_stft", complexes(2, 6, 9), 10, 5, length)
signal("stft", numbers(2, 40), 10, 5, window_fn=None, pad_end=True)
signal("inverse_stft", complexes(2, 6, 9), 10, 5, window_fn=tf.signal.inverse_stft_window_fn(5))
signal("inverse_stft_window_fn", 5, use=lambda f, step: f(step)(12, dtype=tf.float32))
signal("inverse_stft_window_fn", 3, use=lambda f, step: f(step, tf.signal.hamming_window)(8, dtype=tf.float32))
for norm in (None, "ortho"):
    signal("mdct", numbers(2, 40), 8, norm=norm)
    signal("inverse_mdct", numbers(2, 6, 4), norm=norm)
signal("mdct", numbers(2, 38), 8, pad_end=True, window_fn=tf.signal.kaiser_bessel_derived_window)
signal("linear_to_mel_weight_matrix")
signal("linear_to_mel_weight_matrix", 10, 65, 16000, 80.0, 7600.0, tf.float64)
signal("linear_to_mel_weight_matrix", 10, 65, np.float32(16000))
signal("mfccs_from_log_mel_spectrograms", numbers(2, 5, 20), dtypes=WIDE)


quantization = Programs(tf.quantization, {})
VALUES = np.concatenate([np.linspace(-7, 7, 57), [0.49999997, 1e3, -1e3]]).astype(np.float32)
LOW, HIGH = np.float32(-3), np.float32(5)


def unquantized(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Integers in place of quantized ones."""
    output, *ends = function(*args, **kwargs)
    return tf.cast(output, tf.int32), *ends


INTEGERS = np.arange(120, dtype=np.uint8)
for bits in (8, 4):
    for narrow in (False, True):
        width = {"num_bits": bits, "narrow_range": narrow}
        quantization("fake_quant_with_min_max_args", VALUES, -3.0, 5.0, **width)
        quantization("fake_quant_with_min_max_args_gradient", VALUES, VALUES[::-1].copy(), -3.0, 5.0, **width)
        quantization("fake_quant_with_min_max_vars", VALUES, LOW, HIGH, **width)
        quantization("fake_quant_with_min_max_vars_gradient", VALUES, VALUES[::-1].copy(), LOW, HIGH, **width)
        ends = (np.array([-3, 0, -1], np.float32), np.array([5, 3, 1], np.float32))
        rows = VALUES.reshape(20, 3)
        quantization("fake_quant_with_min_max_vars_per_channel", rows, *ends, **width)
        quantization("fake_quant_with_min_max_vars_per_channel_gradient", rows[::-1].copy(), rows, *ends, **width)
        for given in (True, False):
            flags = {"signed_input": not narrow, "range_given": given, **width}
            quantization("quantize_and_dequantize_v2", VALUES, LOW, HIGH, **flags, dtypes=FLOATS[:1])
        quantization("quantize_and_dequantize", VALUES, -3.0, 5.0, **width)
quantization("quantize_and_dequantize", VALUES.reshape(20, 3), [-3.0] * 3, [5.0] * 3, axis=1, range_given=False)
quantization("quantize_and_dequantize_v2", VALUES, LOW, HIGH, round_mode="HALF_UP", dtypes=WIDE)
for T in (tf.qint8, tf.quint8, tf.qint16, tf.quint16):
    for mode in ("MIN_COMBINED", "MIN_FIRST", "SCALED"):
        if (T, mode) != (tf.quint8, "SCALED") and (T, mode) != (tf.qint8, "SCALED"):
            quantization("quantize", VALUES, LOW, HIGH, T, mode=mode, use=unquantized, gradients=False)
quantization("quantize", VALUES, LOW, HIGH, tf.qint32, use=unquantized, gradients=False)
for mode in ("MIN_COMBINED", "MIN_FIRST"):
    quantization(
        "dequantize", INTEGERS, LOW, HIGH, mode=mode, hidden=False,
        use=lambda f, x, *a, **k: f(tf.bitcast(x, tf.quint8), *a, **k),
    )  # fmt: skip
quantization(
    "quantized_concat", INTEGERS, LOW, HIGH, hidden=False,
    use=lambda f, x, low, high: unquantized(f, 0, [tf.bitcast(x, tf.quint8)] * 2, [low, low * 2], [high, high]),
)  # fmt: skip

audio = Programs(tf.audio, {})
SOUND = numbers(50, 2) / 3
audio("encode_wav", SOUND, np.int32(8000))
audio("decode_wav", SOUND, use=lambda f, x: f(tf.audio.encode_wav(x, 8000), 1, 60), gradients=False)

TABLES = {"signal": signal, "quantization": quantization, "audio": audio}


@pytest.mark.parametrize(("program", "options"), [p for table in TABLES.values() for p in table.parameters()])
def test_tf_signal_quantization_and_audio(program: Any, options: Any) -> None:
    agree(program, **options)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_function_of_the_namespace_is_here(table: Programs) -> None:
    assert table.missing() == []
