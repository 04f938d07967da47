"""The same optimizer step through every peer: `python -m bench.peers`, from the folder that holds bench/."""

from __future__ import annotations

from . import (
    with_autograd,
    with_bitsandbytes,
    with_deepspeed,
    with_numba,
    with_numpy,
    with_optax,
    with_ravine,
    with_sklearn,
    with_torch,
)
from .peer import Peer

# DeepSpeed is in no extra: pip builds it, which takes torch in the environment it is built in.
_DEEPSPEED = "DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed"

PEERS = {
    "ravine": Peer("ravine", with_ravine.start),
    "numpy_naive": Peer("NumPy, naive", with_numpy.start_naive),
    "numpy_inplace": Peer("NumPy, in place", with_numpy.start_inplace),
    "numba": Peer("numba", with_numba.start, distribution="numba", brings=["llvmlite"]),
    "torch_loop": Peer("torch, for-loop", with_torch.start_loop, distribution="torch"),
    "torch_foreach": Peer("torch, foreach", with_torch.start_foreach, distribution="torch"),
    "torch_fused": Peer("torch, fused", with_torch.start_fused, with_torch.FUSED_RULES, "torch"),
    "deepspeed": Peer("DeepSpeed CPUAdam", with_deepspeed.start, ("adam", "adamw"), "deepspeed", install=_DEEPSPEED),
    "optax": Peer("optax, jit", with_optax.start, distribution="optax", brings=["jax", "jaxlib"]),
    # 8 bits tell two numbers apart where they differ by some percent
    "bitsandbytes": Peer(
        "bitsandbytes, 8 bits", with_bitsandbytes.start, ("adam", "adamw"), "bitsandbytes", tolerance=0.05
    ),
    "sklearn": Peer("scikit-learn", with_sklearn.start, ("sgd", "momentum", "adam"), "scikit-learn"),
    # some ten arrays of float64 at a time
    "autograd": Peer("autograd", with_autograd.start, ("sgd", "momentum", "adam"), "autograd", most=5e7),
}
