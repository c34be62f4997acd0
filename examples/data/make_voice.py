"""Makes voice.wav: a synthetic voice that sings six syllables, 4.5 s, 48 kHz, mono, 16-bit.

A formant synthesiser: every harmonic of the vocal folds is a sine, as loud as the mouth lets it
through at its frequency; consonants are bursts of noise in a band. The same file every time.

    python make_voice.py [FILE]
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

RATE = 48_000
SECONDS = 4.5
HARMONICS = 40
FORMANT_WIDTHS = (90.0, 120.0, 170.0, 260.0)  # Hz
FORMANT_LEVELS = (1.0, 0.55, 0.32, 0.16)
VOWELS = {  # Hz, a low voice
    "a": (730.0, 1090.0, 2440.0, 3400.0),
    "e": (530.0, 1840.0, 2480.0, 3500.0),
    "i": (270.0, 2290.0, 3010.0, 3700.0),
    "o": (570.0, 840.0, 2410.0, 3300.0),
    "u": (300.0, 870.0, 2240.0, 3200.0),
}
NOISES = {  # band in Hz, seconds, level
    "t": (3000.0, 7000.0, 0.030, 0.5),
    "k": (1400.0, 3200.0, 0.045, 0.5),
    "s": (5000.0, 10000.0, 0.140, 0.25),
    "h": (600.0, 2800.0, 0.090, 0.15),
}
SONG = (  # consonant, vowel, pitch in Hz, where the vowel begins and how long it lasts in seconds
    ("t", "a", 146.83, 0.15, 0.50),
    ("s", "o", 164.81, 0.85, 0.50),
    ("k", "i", 174.61, 1.50, 0.45),
    ("h", "e", 196.00, 2.10, 0.45),
    ("t", "u", 174.61, 2.70, 0.40),
    ("s", "a", 146.83, 3.30, 1.00),
)


def vowel(formants: tuple[float, ...], pitch: float, seconds: float) -> Signal:
    """Return one sung vowel, with a vibrato that comes in late, as singers do it."""
    time = np.arange(round(seconds * RATE)) / RATE
    depth = 0.012 * np.clip((time - 0.15) / 0.2, 0, 1)
    frequency = pitch * (1 - 0.06 * np.exp(-time / 0.04)) * (1 + depth * np.sin(34.6 * time))
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    voice = np.zeros_like(time)
    for harmonic in range(1, HARMONICS + 1):
        at = harmonic * frequency
        mouth = sum(
            level / (1 + ((at - centre) / width) ** 2)
            for centre, width, level in zip(formants, FORMANT_WIDTHS, FORMANT_LEVELS, strict=True)
        )
        voice += (mouth + 0.01) / harmonic**0.5 * np.sin(harmonic * phase)
    attack = np.clip(time / 0.03, 0, 1)
    release = np.clip((seconds - time) / 0.09, 0, 1)
    shaped: Signal = voice * np.sin(attack * release * np.pi / 2) ** 2
    return shaped


def burst(low: float, high: float, seconds: float, noise: Signal) -> Signal:
    """Return a consonant: noise within a band, dying away, its peak at 1."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(noise[:n])
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    spectrum[(frequency < low) | (frequency > high)] = 0
    ramp = np.linspace(0, 1, n)
    shaped: Signal = np.fft.irfft(spectrum, n) * (1 - ramp) * np.clip(ramp * 12, 0, 1)
    shaped /= np.abs(shaped).max()
    return shaped


def sing() -> Signal:
    """Return the whole song, its peak at 0.8."""
    # RandomState's stream is frozen for ever; a Generator's may change with NumPy.
    noise = np.random.RandomState(48).standard_normal(RATE)
    song = np.zeros(round(SECONDS * RATE))
    for consonant, name, pitch, begin, seconds in SONG:
        sung = vowel(VOWELS[name], pitch, seconds)
        start = round(begin * RATE)
        song[start : start + sung.size] += sung / np.abs(sung).max()
        low, high, length, level = NOISES[consonant]
        spoken = burst(low, high, length, noise)
        start -= round(0.7 * spoken.size)
        song[start : start + spoken.size] += level * spoken
    song *= 0.8 / np.abs(song).max()
    return song


def main() -> None:
    default = Path(__file__).with_name("voice.wav")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(sing() * 32767).astype("<i2").tobytes())
    print(f"{path}: {SECONDS} s of singing")


if __name__ == "__main__":
    main()
