"""Sound: WAV files, and the spectrograms and cepstral coefficients that speech models start from."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.ops._arguments import scalar
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.summary import wav

# Chunks that may stand before a WAV file's format; TensorFlow knows these alone.
_SKIPPED = frozenset((b"JUNK", b"bext", b"iXML", b"qlty", b"mext", b"levl", b"link", b"axml"))


class _Chunks:
    """Reads a WAV file from its front; every read is checked against the file's end."""

    def __init__(self, contents: bytes):
        self.contents = contents
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.contents):
            raise ValueError(
                f"the WAV file ends at byte {len(self.contents)}, expected {count} more bytes after byte {self.at}; "
                "it is truncated"
            )
        self.at += count
        return self.contents[self.at - count : self.at]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def expect(self, text: bytes) -> None:
        found = self.take(len(text))
        if found != text:
            raise ValueError(f"a WAV file has {text!r} at byte {self.at - len(text)}, found {found!r}")


def _demand(what: str, found: int, expected: Any) -> None:
    if found not in (expected if isinstance(expected, tuple) else (expected,)):
        raise ValueError(f"the WAV file's {what} is {found}, expected {expected}")


def read_wav(contents: bytes) -> tuple[Array, int]:
    """Samples as float32 [frames, channels] in [-1, 1), and frames per second, of a 16-bit PCM WAV file.

        "RIFF" size:4 "WAVE" {other chunks} "fmt " size:4 coding:2 channels:2 rate:4 bytes a second:4
        bytes a frame:2 bits a sample:2 {unused:2} {"data" size:4 samples | any other chunk}

    Raises:
        ValueError: the file is truncated, of another coding, or has no data or two of them.
    """
    file = _Chunks(contents)
    file.expect(b"RIFF")
    file.take(4)
    file.expect(b"WAVE")
    while (chunk := file.take(4)) != b"fmt ":
        if chunk not in _SKIPPED:
            raise ValueError(f"the WAV file has the chunk {chunk!r} before its format, which only {set(_SKIPPED)} may")
        file.take(file.number("<I"))
    size = file.number("<I")
    _demand("format chunk's size", size, (16, 18))
    _demand("coding", file.number("<H"), 1)
    channels, rate, per_second, per_frame = (file.number(form) for form in ("<H", "<I", "<I", "<H"))
    if not channels:
        raise ValueError("the WAV file has 0 channels, expected at least 1")
    _demand("number of bits a sample", file.number("<H"), 16)
    _demand("number of bytes a frame", per_frame, 2 * channels)
    _demand("number of bytes a second", per_second, per_frame * rate % 2**32)
    file.at += size - 16
    samples: Array | None = None
    while file.at < len(contents):
        chunk, size = file.take(4), file.number("<I")
        if size >= 2**31:
            raise ValueError(f"the WAV file's chunk {chunk!r} declares {size} bytes, expected less than {2**31}")
        if chunk != b"data":
            file.at += size
        elif samples is not None:
            raise ValueError("the WAV file has two data chunks, expected one")
        else:
            samples = np.frombuffer(file.take(size // per_frame * per_frame), "<i2").reshape(-1, channels)
    if samples is None:
        raise ValueError("the WAV file has no data chunk")
    return samples.astype(np.float32) / np.float32(32768), rate


@specialized("DecodeWav", outputs=2)
def DecodeWav(*, desired_channels: int = -1, desired_samples: int = -1) -> Kernel:
    """Samples that the file lacks are 0; channels that it lacks are its last one."""

    def run(contents: Array) -> tuple[Array, Array]:
        if np.ndim(contents):
            raise ValueError(f"contents must be a scalar, got shape {contents.shape}")
        samples, rate = read_wav(np.asarray(contents).item())
        if desired_channels != -1:
            samples = samples[:, np.minimum(np.arange(desired_channels), samples.shape[1] - 1)]
        if desired_samples != -1:
            audio = np.zeros((desired_samples, samples.shape[1]), np.float32)
            audio[: len(samples)] = samples[:desired_samples]
            samples = audio
        return samples, np.array(rate, np.uint32).view(np.int32)

    return run


@op("EncodeWav")
def EncodeWav(audio: Array, sample_rate: Array) -> Array:
    rate = scalar("sample_rate", sample_rate)
    if audio.ndim != 2 or not 0 < audio.shape[1] < 2**16:
        raise ValueError(f"audio must have shape [frames, channels], at least one channel, got {audio.shape}")
    if rate <= 0:
        raise ValueError(f"sample_rate must be above 0 Hz, got {rate}")
    return np.array(wav(audio, rate), object)


@specialized("AudioSpectrogram")
def AudioSpectrogram(*, window_size: int, stride: int, magnitude_squared: bool = False) -> Kernel:
    """Magnitudes of the Fourier transform of Hann windows, each padded with zeros to a power of two."""
    if window_size < 2 or stride < 1:
        raise ValueError(f"window_size must be at least 2 and stride at least 1, got {window_size} and {stride}")
    length = 1 << (window_size - 1).bit_length()

    def run(input: Array) -> Any:
        from scipy import fft

        if input.ndim != 2:
            raise ValueError(f"input must have shape [samples, channels], got {input.shape}")
        count = max(0, (len(input) - window_size) // stride + 1)
        result = np.empty((input.shape[1], count, length // 2 + 1), np.float32)
        if result.size:
            hann = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(window_size) / window_size)
            windows = np.lib.stride_tricks.sliding_window_view(input, window_size, axis=0)[::stride]
            step = max(1, (1 << 20) // (length * 16))
            for channel in range(input.shape[1]):
                for start in range(0, count, step):
                    spectrum = fft.rfft(windows[start : start + step, channel] * hann, n=length, axis=-1)
                    result[channel, start : start + step] = spectrum.real**2 + spectrum.imag**2
        return result if magnitude_squared else np.sqrt(result, out=result)

    return run


def _mel(frequency: Any) -> Any:
    """The mel scale, in the form of the HTK toolkit; frequencies in Hz."""
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


@lru_cache(maxsize=16)
def _filterbank(bins: int, rate: int, channels: int, low: float, high: float) -> Array | None:
    """[bins, channels]: how much of each bin's magnitude each triangular mel filter takes.

    A bin counts for the filters whose centres it lies between, more for the nearer. None where the filters
    reach beyond the spectrum.
    """
    hz = 0.5 * rate / (bins - 1)
    first, last = int(1.5 + low / hz), int(high / hz)
    if last >= bins:
        return None
    # `channels` centres and the last filter's upper end
    centres = _mel(low) + (_mel(high) - _mel(low)) / (channels + 1) * np.arange(1, channels + 2)
    index = np.arange(first, last + 1)
    mel = _mel(index * hz)
    above = np.minimum(np.searchsorted(centres[:channels], mel, side="left"), channels)
    ends = np.concatenate([[_mel(low)], centres])
    share = (ends[above + 1] - mel) / (ends[above + 1] - ends[above])  # of the filter whose centre is below
    weights = np.zeros((bins, channels + 2))
    weights[index, above] = share
    weights[index, above + 1] = 1 - share
    return weights[:, 1 : channels + 1]


@specialized("Mfcc")
def Mfcc(
    *,
    upper_frequency_limit: float = 4000.0,
    lower_frequency_limit: float = 20.0,
    filterbank_channel_count: int = 40,
    dct_coefficient_count: int = 13,
) -> Kernel:
    """Mel-frequency cepstral coefficients of power spectra [channels, frames, bins]."""
    channels, count = filterbank_channel_count, dct_coefficient_count
    if not 0 < count <= channels:
        raise ValueError(f"dct_coefficient_count must be from 1 to filterbank_channel_count, {channels}, got {count}")
    if not 0 <= lower_frequency_limit < upper_frequency_limit:
        raise ValueError(
            "lower_frequency_limit must be at least 0 and less than upper_frequency_limit, got "
            f"{lower_frequency_limit} and {upper_frequency_limit}"
        )
    angles = np.outer(np.arange(channels) + 0.5, np.arange(count)) * (math.pi / channels)
    cosines = math.sqrt(2.0 / channels) * np.cos(angles)

    def run(spectrogram: Array, sample_rate: Array) -> Any:
        rate = scalar("sample_rate", sample_rate)
        if spectrogram.ndim != 3 or spectrogram.shape[2] < 2 or rate <= 0:
            raise ValueError(
                "spectrogram must have shape [channels, frames, bins] with 2 bins or more, and sample_rate be "
                f"above 0 Hz, got {spectrogram.shape} and {rate}"
            )
        bank = _filterbank(spectrogram.shape[2], rate, channels, lower_frequency_limit, upper_frequency_limit)
        if bank is None:  # TensorFlow logs an error and gives these
            return np.zeros((*spectrogram.shape[:2], count), np.float32)
        energies = np.sqrt(spectrogram.astype(np.float64)) @ bank
        return (np.log(np.maximum(energies, 1e-12)) @ cosines).astype(np.float32)

    return run
