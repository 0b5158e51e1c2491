"""Whether a CPU has units for bfloat16. The choice of kernels follows that, never a measurement, which noise decides.

Only AMX counts. With AVX-512-BF16 alone a step was slower than in float32 (0.68 of its speed, tried on a CPU that has
both), and with neither oneDNN takes products in bfloat16 apart, 4 to 15 times slower. Nothing was measured on ARM.
There, weights are kept in bfloat16 and products are taken in float32 (models/wide.py).
"""

from __future__ import annotations

import os

import torch

# What ONEDNN_MAX_CPU_ISA may name without taking AMX away.
_WITH_AMX = ("", "DEFAULT", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16", "AVX10_2_512_AMX_2")


def has_amx() -> bool:
    """Whether oneDNN multiplies matrices in bfloat16 with the units of this CPU (AMX)."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return torch.backends.mkldnn.is_available() and torch.cpu._is_amx_tile_supported() and limit in _WITH_AMX


def products(precision: torch.dtype, device: torch.device) -> torch.dtype:
    """What products of a model in ``precision`` are computed in: float32 where a CPU has no units for bfloat16.

    float16 is computed in any case, so that a CPU shows what a GPU will do: its overflows, and what its scale is for.
    """
    without = precision == torch.bfloat16 and device.type == "cpu" and not has_amx()
    return torch.float32 if without else precision
