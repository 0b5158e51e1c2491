"""Named random streams: every draw is a pure function of a key, and keys are hashed, never added.

A key is 32 bytes in hexadecimal. ``fold`` derives a new one from a purpose and counters (step, task, call site, ...),
so no draw depends on what was drawn before it. torch's CPU generator reads only 32 bits of a seed, which would
make hashed seeds collide within one long run; on the CPU, numpy's Philox takes 128 bits of the key instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Key = str


def root(seed: int) -> Key:
    """The key of a run from its integer seed."""
    return hashlib.sha256(f"mtlfn seed {int(seed)}".encode()).hexdigest()


def fold(key: Key, *parts: str | int) -> Key:
    """A new key from a key and parts. Parts are length-prefixed and typed: ("ab", 1) and ("a", "b1") differ."""
    h = hashlib.sha256(bytes.fromhex(key))
    for part in parts:
        data = f"{type(part).__name__}:{part}".encode()
        h.update(len(data).to_bytes(8, "big"))
        h.update(data)
    return h.hexdigest()


def numpy_generator(key: Key) -> np.random.Generator:
    """A fresh Philox generator on 128 bits of the key."""
    return np.random.Generator(np.random.Philox(key=int(key[:32], 16)))


def bits16(key: Key, count: int) -> np.ndarray:
    """``count`` uniform 16-bit integers, int16 [count]."""
    return np.random.Philox(key=int(key[:32], 16)).random_raw((count + 3) // 4).view(np.int16)[:count]


def keep_masks(draws: Sequence[tuple[Key, int]], rate: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Dropout masks end to end, so many entries from each key: 0 with probability ``rate`` (rounded to 1/65536), else
    1 / (1 - rate). [entries], of ``dtype``. The draws of CPU and GPU differ.
    """
    dropped = round(rate * 65536)
    scale = 65536 / (65536 - dropped)
    if device.type != "cpu":
        counts, generator = [count for _, count in draws], torch.Generator(device)
        bits = torch.empty(sum(counts), dtype=torch.int16, device=device)
        for (key, _), part in zip(draws, bits.split(counts), strict=True):
            part.random_(-(2**15), 2**15, generator=generator.manual_seed(int(key[:16], 16) & (2**63 - 1)))
        return ((bits >= dropped - 32768) * scale).to(dtype)
    # In numpy, which takes half of the time of torch here.
    mask = np.concatenate([bits16(*draw) for draw in draws]) >= dropped - 32768
    if dtype == torch.float32:
        return torch.from_numpy(np.multiply(mask, np.float32(scale)))
    return torch.from_numpy(mask).to(dtype).mul_(scale)


def normal(key: Key, shape: tuple[int, ...], std: float) -> Tensor:
    """Normal draws with mean 0, float32 on the CPU; equal on every machine and device."""
    draws = numpy_generator(key).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(np.asarray(draws * np.float32(std)))


def uniform(key: Key, shape: tuple[int, ...], bound: float) -> Tensor:
    """Uniform draws in [-bound, bound), float32 on the CPU; equal on every machine and device."""
    draws = numpy_generator(key).random(shape, dtype=np.float32)
    return torch.from_numpy(np.asarray((draws * np.float32(2) - np.float32(1)) * np.float32(bound)))
