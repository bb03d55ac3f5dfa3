from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.samples import ints

import graphrack as gr
from graphrack.ops import registry


def waves(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    random = np.random.default_rng([*shape])
    values = random.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * random.normal(size=shape)
    return values.astype(dtype)


NEAR = {np.complex64: {"rtol": 1e-4, "atol": 1e-5}, np.float32: {"rtol": 1e-4, "atol": 1e-5}}


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("op", ["FFT", "IFFT", "FFT2D", "IFFT2D", "FFT3D", "IFFT3D"])
@pytest.mark.parametrize("shape", [(8,), (3, 5), (2, 4, 7), (2, 3, 4, 5), (0, 4, 4, 4), (1, 1, 1), ()])
def test_complex_transforms(op: str, shape: tuple[int, ...], dtype: Any) -> None:
    rank = int(op[-2]) if op.endswith("D") else 1
    check(op, input=waves(shape, dtype), refused=len(shape) < rank, **NEAR.get(dtype, {}))


@pytest.mark.parametrize(("real", "result"), [(np.float32, tf.complex64), (np.float64, tf.complex128)])
@pytest.mark.parametrize("lengths", [(8,), (7,), (1,), (4, 6), (3, 5), (4, 3, 7), (2, 2, 2)])
def test_real_transforms_crop_to_their_lengths(lengths: tuple[int, ...], real: Any, result: Any) -> None:
    suffix = "" if len(lengths) == 1 else f"{len(lengths)}D"
    for extra in (0, 2):
        shape = (2, *(n + extra for n in lengths))
        check(
            f"RFFT{suffix}",
            input=waves(shape, real),
            fft_length=ints(*lengths),
            Tcomplex=result,
            refused=False,
            **NEAR.get(real, {}),
        )
        spectrum = waves((*shape[:-1], lengths[-1] // 2 + 1 + extra), result.as_numpy_dtype)
        check(
            f"IRFFT{suffix}",
            input=spectrum,
            fft_length=ints(*lengths),
            Treal=tf.as_dtype(real),
            refused=False,
            **NEAR.get(real, {}),
        )


def test_transforms_of_too_few_samples_are_refused() -> None:
    samples, spectrum = waves((2, 4, 6), np.float32), waves((2, 4, 6), np.complex64)
    check("RFFT", input=samples, fft_length=ints(7), refused=True)
    check("RFFT", input=samples, fft_length=np.int32(4), refused=True)
    check("RFFT", input=samples, fft_length=ints(2, 2), refused=True)
    check("RFFT2D", input=samples, fft_length=ints(5, 6), refused=True)
    check("RFFT2D", input=samples[0, 0], fft_length=ints(2, 2), refused=True)
    check("RFFT3D", input=samples, fft_length=ints(3, 4, 6), refused=True)
    check("IRFFT", input=spectrum, fft_length=ints(12), refused=True)
    check("IRFFT2D", input=spectrum, fft_length=ints(5, 10), refused=True)
    check("IRFFT3D", input=spectrum, fft_length=ints(3, 4, 10), refused=True)


def test_empty_batches() -> None:
    check("RFFT", input=waves((0, 6), np.float32), fft_length=ints(6), refused=False)
    check("IRFFT", input=waves((0, 4), np.complex64), fft_length=ints(6), refused=False)


def test_lengths_of_zero_give_nothing() -> None:
    # TensorFlow ends the process here.
    samples = waves((2, 6), np.float32)
    op = registry.lookup("RFFT")
    assert op is not None
    assert op.bind("n", {}, {})(samples, ints(0)).shape == (2, 0)
    with pytest.raises(ValueError, match="at least 0"):
        op.bind("n", {}, {})(samples, ints(-1))


def test_old_names_mean_the_same() -> None:
    for name in ("BatchFFT", "BatchFFT2D", "BatchFFT3D", "BatchIFFT", "BatchIFFT2D", "BatchIFFT3D"):
        old, new = registry.lookup(name), registry.lookup(name.removeprefix("Batch"))
        assert old is not None
        assert new is not None
        assert old.function is new.function


def spectrogram(x: Any) -> Any:
    return tf.abs(tf.signal.stft(x, frame_length=32, frame_step=8, fft_length=64))


def there_and_back(x: Any) -> Any:
    window = tf.signal.inverse_stft_window_fn(8)
    return tf.signal.inverse_stft(tf.signal.stft(x, 32, 8), 32, 8, window_fn=window)


def padded_stft(x: Any) -> Any:
    return tf.signal.stft(x, frame_length=30, frame_step=11, pad_end=True)


def mfcc(x: Any) -> Any:
    mel = tf.signal.linear_to_mel_weight_matrix(20, 33, 16000, 80.0, 7600.0)
    energies = tf.tensordot(spectrogram(x) ** 2, mel, 1)
    return tf.signal.mfccs_from_log_mel_spectrograms(tf.log(energies + 1e-6))[..., :13]


def dcts(x: Any) -> Any:
    kinds = [tf.signal.dct(x, type=kind, norm=norm) for kind in (2, 3) for norm in (None, "ortho")]
    return tf.stack([*kinds, tf.signal.idct(x, norm="ortho"), tf.signal.dct(x, type=4), tf.signal.dct(x, type=1)])


def framed(x: Any) -> Any:
    return tf.signal.frame(x, 20, 7, pad_end=True, pad_value=0.5)


def overlapped(x: Any) -> Any:
    return tf.signal.overlap_and_add(tf.signal.frame(x, 20, 5), 5)


def mdct(x: Any) -> Any:
    return tf.signal.inverse_mdct(tf.signal.mdct(x, 32))


def hilbert(x: Any) -> Any:
    shifted = tf.signal.fftshift(tf.signal.fft(tf.cast(x, tf.complex64)))
    return tf.signal.ifft(tf.signal.ifftshift(shifted))


def padded_rfft(x: Any) -> Any:
    return tf.signal.irfft2d(tf.signal.rfft2d(x, [3, 200]), [3, 200])


@pytest.mark.parametrize(
    "build",
    [spectrogram, there_and_back, padded_stft, mfcc, dcts, framed, overlapped, mdct, hilbert, padded_rfft],
)
def test_signal_graphs_end_to_end(build: Callable[[Any], Any], tmp_path: Path) -> None:
    samples = waves((2, 160), np.float32)
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, None] if build is not dcts else [None, 160], name="x")
        y = tf.identity(build(x), name="y")
        expected = sess.run(y, {x: samples})
        path = tmp_path / "graph.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
    found = gr.load(path).run("y:0", {"x:0": samples})
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)
