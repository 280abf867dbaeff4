"""Compiles every Triton program for an H100, without a GPU: prints what the compiler says as JSON.

Run as its own process by `test_gpu.py`: whether Triton compiles or interprets is chosen when the programs
are imported.
"""

from __future__ import annotations

import itertools
import json
import re

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from agents.learn import returns_gpu
from agents.net.kernels import gpu, gpu_code

KINDS = {
    **dict.fromkeys(("start", "over", "counts"), "*i1"),
    **dict.fromkeys(("seat", "read", "next_seat"), "*i64"),
    **dict.fromkeys(("T", "B", "carried"), "i32"),
    **dict.fromkeys(("gamma", "decay"), "fp32"),
}
"""Of arguments that are no numbers in memory."""


def compiled(program, warps, **constants):
    """What there is to say of a program."""
    names = program.arg_names
    signature = {n: "constexpr" if n in constants else KINDS.get(n, "*fp32") for n in names}
    constants = {(names.index(n),): value for n, value in constants.items() if n in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n] == "*fp32"}
    source = ASTSource(program, signature, constexprs=constants, attrs=aligned)
    made = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": 1}
    )
    ptx = made.asm["ptx"]
    return {
        "target": re.search(r"\.target \w+", ptx)[0],
        "products": sorted(set(re.findall(r"\bw?g?mma\.[\w.:]+", ptx))),
        "shared": made.metadata.shared,
    }


def main():
    """Both ways, cells, sizes and settings."""
    told = {}
    for (cell, own), H, setting in itertools.product(
        (("gated", 1), ("lstm", 4)), (128, 256), ("highest", "high", "medium")
    ):
        if setting == "high" and own == 4:
            continue
        precision, is_rounded, size = gpu.PRECISIONS[setting]
        *cut, warps = gpu.tile_for(H, own, size)
        constants = dict(zip(("BLOCK", "N", "K", "STAGES"), cut, strict=True))
        constants |= {"H": H, "P": 2, "SEATS": 2, "OWN": own, "KEEPS": True}
        constants |= {"PRECISION": precision, "BF16": is_rounded}
        for program in ("forward", "backward"):
            name = f"{program} {cell} {H} {setting}"
            told[name] = compiled(getattr(gpu_code, program), warps, **constants)
    told["advantages"] = compiled(returns_gpu.walk, 4, P=2, SEATS=2, BLOCK=returns_gpu.BLOCK)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
