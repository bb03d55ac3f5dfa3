from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

RNG = np.random.default_rng(0)
SOUND = RNG.uniform(-1.2, 1.2, (300, 2)).astype(np.float32)
SPECTRA = RNG.random((2, 3, 129)).astype(np.float32)
RATE = np.int32(16000)


def wav(samples: np.ndarray = SOUND[:20], rate: int = 44100) -> bytes:
    return bytes(check("EncodeWav", audio=samples, sample_rate=np.int32(rate), refused=False)[0])


def contents(data: bytes) -> np.ndarray:
    return np.array(data, object)


def test_sound_becomes_the_same_file_of_16_bits() -> None:
    for samples in (SOUND, SOUND[:, :1], SOUND[:0], SOUND.reshape(100, 6)):
        wav(samples)
    halves = (np.arange(-9, 9, dtype=np.float32) / 65536).reshape(-1, 3)
    wav(np.concatenate([halves, np.array([[np.inf, -np.inf, 1.0]], np.float32)]))
    for rate in (0, -5):
        check("EncodeWav", audio=SOUND, sample_rate=np.int32(rate), refused=True)
    check("EncodeWav", audio=SOUND[:, :0], sample_rate=RATE, refused=True)
    check("EncodeWav", audio=SOUND[:, 0], sample_rate=RATE, refused=True)


@pytest.mark.parametrize("desired_channels", [-1, 0, 1, 2, 4])
@pytest.mark.parametrize("desired_samples", [-1, 0, 10, 500])
def test_files_become_as_many_channels_and_samples_as_wanted(desired_channels: int, desired_samples: int) -> None:
    wanted = {"desired_channels": desired_channels, "desired_samples": desired_samples}
    check("DecodeWav", contents=contents(wav()), **wanted)


def test_files_with_other_chunks() -> None:
    data, other = wav(), b"\4\0\0\0abcd"
    for whole in (data + b"LIST" + other, data + b"LIST\xff\0\0\0abcd", data[:12] + b"JUNK" + other + data[12:]):
        check("DecodeWav", contents=contents(whole), refused=False)
    longer = data[:16] + b"\x12\0\0\0" + data[20:36] + b"\0\0" + data[36:]
    check("DecodeWav", contents=contents(longer), refused=False)
    for whole in (data + b"data" + other, data[:12] + b"ABCD" + other + data[12:], data[:36]):
        check("DecodeWav", contents=contents(whole), refused=True)
    check("DecodeWav", contents=np.array([data], object), refused=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80), st.integers(0, 255))
def test_damaged_files_are_refused_where_tensorflow_refuses_them(at: int, byte: int) -> None:
    data = wav()
    check("DecodeWav", contents=contents(data[:at] + bytes([byte]) + data[at + 1 :]))
    check("DecodeWav", contents=contents(data[:at]), refused=True)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(("window", "stride"), [(16, 5), (20, 7), (400, 3), (300, 3), (2, 1), (33, 50)])
def test_spectrogram(window: int, stride: int, squared: bool) -> None:
    attributes = {"window_size": window, "stride": stride, "magnitude_squared": squared}
    for samples in (SOUND, SOUND[:0], SOUND[:, :0], SOUND[:, 0]):
        check("AudioSpectrogram", input=samples, **attributes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"lower_frequency_limit": 0.0, "upper_frequency_limit": 8000.0},
        {"filterbank_channel_count": 10, "dct_coefficient_count": 10},
        {"filterbank_channel_count": 128},
        {"upper_frequency_limit": 300.0, "filterbank_channel_count": 3, "dct_coefficient_count": 2},
        {"dct_coefficient_count": 50},
        {"dct_coefficient_count": 0},
        {"lower_frequency_limit": -1.0},
        {"lower_frequency_limit": 5000.0},
    ],
)
def test_cepstral_coefficients(attributes: dict[str, float]) -> None:
    for rate in (16000, 8000, 4000, 0):  # at 4 kHz the filters reach beyond the spectrum
        check("Mfcc", spectrogram=SPECTRA, sample_rate=np.int32(rate), **attributes)
    for spectra in (SPECTRA * 0, SPECTRA[:, :0], SPECTRA[..., :2], SPECTRA[..., :1], SPECTRA[0]):
        check("Mfcc", spectrogram=spectra, sample_rate=RATE, **attributes)
