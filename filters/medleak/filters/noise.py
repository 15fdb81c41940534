"""Random noise that can carry a privacy claim: where the bits come from, how they become noise.

**Bits.** AES-256 in counter mode under a fresh 256-bit key from the operating system for every
source. NumPy's and PyTorch's generators (PCG64, Philox, MT19937) are not used: their state can be
computed from their outputs, and most of an update's 10^7 noise values could be guessed by someone
who knows a few layers. ``SystemRandom`` itself is sound but ten times slower.

**Floating point.** Added naively, floating-point noise has gaps that depend on the value it hides
(Mironov 2012, "On significance of the least significant bits for differential privacy"). Here value
and noise are both put on one grid of spacing g = 2^floor(log2 scale) / 2^24 before they are added
(the value towards zero, so no norm grows), in float64, as in Google's differential privacy library
("Secure noise generation", 2020). The sum is then a post-processing of ideal noise on the grid, as
is the last rounding to the update's dtype.

**Not covered.** The continuous noise before the grid is a float64 Box-Muller (or inverse-CDF) value
from 64-bit uniforms, not an exact sampler: tails end at 9.5 standard deviations (Laplace: 45
scales), and the probability of a grid point is close to the ideal one, not equal to it. For values
above 2^29 scales the grid is finer than float64. Timing is not constant. An attacker who reads the
process's memory sees key and update alike.

**Survival.** A value that is large for its dtype swallows noise that is small beside it: such a
tensor is refused by name, before its noise is drawn and again by counting what came out unchanged.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from medleak.filters.update import UpdateError, Value

_CHUNK = 1 << 16
_ZEROS = memoryview(bytes(8 * _CHUNK))
_GRID_BITS = 24
# Share of a tensor's entries that may come out of the rounding as they went in, by chance.
UNTOUCHED = 2.0**-7


class NoiseSource:
    """A stream of uniform 64-bit words; use :meth:`secure` outside tests and audits."""

    def __init__(self, key: bytes) -> None:
        """Start the stream of a 32-byte key; equal keys give equal streams."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        # The nonce may be constant because a key is never used for two streams.
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    @classmethod
    def secure(cls) -> Self:
        """A source that nobody can repeat: its key comes from the operating system."""
        return cls(os.urandom(32))

    @classmethod
    def seeded(cls, seed: int, *context: str | int) -> Self:
        """A repeatable source for tests and offline audits: no protection whatsoever.

        ``context`` (say round and site) separates streams of one seed.
        """
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ValueError(f"seed must be a whole number, got {seed!r}.")
        text = "\x1f".join(["medleak seeded noise", *map(str, (seed, *context))])
        return cls(hashlib.sha256(text.encode()).digest())

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` words, uniform on 0 … 2^64 - 1."""
        words = np.empty(count, dtype="<u8")
        for part in chunks(count):
            size = 8 * (part.stop - part.start)
            words[part] = np.frombuffer(self._stream.update(_ZEROS[:size]), dtype="<u8")
        return words


class _Sampler(Protocol):
    def __call__(self, source: NoiseSource, count: int) -> NDArray[np.float64]: ...


def standard_normal(source: NoiseSource, count: int) -> NDArray[np.float64]:
    """``count`` values of N(0, 1) by Box and Muller 1958; see the module on their precision."""
    half = (count + 1) // 2
    u = _open_uniform(source.words(2 * half))
    radius, angle = u[:half], u[half:]
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle *= 2 * np.pi
    normal = np.empty(2 * half)
    np.multiply(radius, np.cos(angle), out=normal[:half])
    np.multiply(radius, np.sin(angle, out=angle), out=normal[half:])
    return normal[:count]


def standard_laplace(source: NoiseSource, count: int) -> NDArray[np.float64]:
    """``count`` values of the Laplace distribution of mean 0 and scale 1 (variance 2)."""
    words = source.words(count)
    magnitude = -np.log(_open_uniform(words & ~np.uint64(1)))
    return np.where(words & np.uint64(1), magnitude, -magnitude)


def uniform(source: NoiseSource, count: int) -> NDArray[np.float64]:
    """``count`` values, uniform on the open interval (0, 1) up to float64 rounding."""
    return _open_uniform(source.words(count))


def add_gaussian(
    value: Value, sigma: float, source: NoiseSource, *, factor: float = 1.0, name: str = "a value"
) -> Value:
    """``factor`` · ``value`` + noise of deviation ``sigma`` in every entry; same shape and type.

    No entry of ``factor`` · ``value`` grows on its way to the grid, so a norm bound holds there.

    Raises:
        UpdateError: ``value`` (``name`` in the message) is so large for its dtype that rounding
            takes the noise away again, or so small a type that the noise overflows it.
    """
    return _add(value, sigma, source, standard_normal, factor, name)


def add_laplace(
    value: Value, scale: float, source: NoiseSource, *, factor: float = 1.0, name: str = "a value"
) -> Value:
    """``factor`` · ``value`` + Laplace(``scale``); see :func:`add_gaussian`."""
    return _add(value, scale, source, standard_laplace, factor, name)


def grid_spacing(scale: float) -> float:
    """The power of two on whose multiples value and noise of this ``scale`` meet."""
    return math.ldexp(1.0, math.frexp(scale)[1] - 1 - _GRID_BITS)


def _add(
    value: Value, scale: float, source: NoiseSource, sampler: _Sampler, factor: float, name: str
) -> Value:
    spacing = grid_spacing(scale)
    if not (math.isfinite(scale) and scale > 0 and spacing > 0):
        raise ValueError(
            f"Noise needs a positive finite scale, got {scale!r}: nothing would be hidden. "
            "Check the update's size and the defence's parameters."
        )
    flat = np.ascontiguousarray(value).reshape(-1)
    _check_resolution(flat, scale, factor, name)
    out = np.empty_like(flat)
    untouched = 0
    for part in chunks(flat.size):
        noise = sampler(source, part.stop - part.start)
        noise *= scale / spacing
        np.rint(noise, out=noise)
        bare = flat[part].astype(np.float64)
        bare *= factor / spacing
        noise += np.trunc(bare, out=bare)
        noise *= spacing
        bare *= spacing
        with np.errstate(over="ignore"):
            out[part] = noise
            untouched += int(np.count_nonzero(out[part] == bare.astype(flat.dtype)))
        if not np.isfinite(out[part]).all():
            raise UpdateError(
                f"The noise overflows {flat.dtype} in {name}: the result could not be averaged. "
                "Use less noise or send float32."
            )
    _check_untouched(untouched, flat, scale, name)
    shaped = out.reshape(value.shape)
    return shaped[()] if isinstance(value, np.generic) else shaped


def _check_resolution(flat: NDArray[np.floating], scale: float, factor: float, name: str) -> None:
    """Refuse noise that the dtype of ``flat`` cannot show beside values of this size.

    An entry whose neighbours in its dtype are u apart comes out unchanged with probability of at
    most u / (2 · scale), for Laplace noise and Gaussian alike; u is at most eps · |value|.
    """
    if not flat.size:
        return
    kind = np.finfo(flat.dtype)
    largest = total = 0.0
    for part in chunks(flat.size):
        size = np.abs(flat[part], dtype=np.float64)
        largest = max(largest, float(size.max()))
        total += float(size.sum())
    widest = max(float(kind.eps) * largest * factor, float(kind.smallest_subnormal))
    mean = float(kind.eps) * total * factor / flat.size + float(kind.smallest_subnormal)
    if widest > scale or mean > 2 * scale * UNTOUCHED:
        raise UpdateError(
            f"{name} is too large for the noise: values up to {largest * factor:.3g} in "
            f"{flat.dtype} are up to {widest:.2g} apart, and noise of scale {scale:.2g} would be "
            "rounded away, so it would leave bare under a declared defence. Give statistics a "
            'scale of their own (percentile_gaussian with scope="group"), send float32, or '
            "withhold this entry."
        )


def _check_untouched(count: int, flat: NDArray[np.floating], scale: float, name: str) -> None:
    """Refuse a result in which more entries equal the raw ones than chance gives (1 in 10^8)."""
    expected = UNTOUCHED * flat.size
    if count > expected + 6 * math.sqrt(expected) + 3:
        raise UpdateError(
            f"{count} of {flat.size} entries of {name} are the same after noise of scale "
            f"{scale:.2g} was added: it would leave bare under a declared defence. Use more noise, "
            "or send a wider type."
        )


def chunks(size: int) -> Iterator[slice]:
    """Slices that cover 0 … ``size`` in steps that fit the cache and keep the peak memory flat."""
    for start in range(0, size, _CHUNK):
        yield slice(start, min(start + _CHUNK, size))


def _open_uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    # (k + 1/2) / 2^64 is never 0, so the logarithm is finite.
    u = words.astype(np.float64)
    u += 0.5
    u *= 2.0**-64
    return u
