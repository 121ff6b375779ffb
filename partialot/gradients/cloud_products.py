"""Products with kernels between clouds whose prices are evaluated on the way, and their first derivatives.

Of Y = K V with K_ij = exp((f_i + g_j − ⟨left_i, right_j⟩) / reg) and an upstream derivative U, those by f are sums of
U ∘ Y, those by V are Kᵀ U, and those by the prices K ∘ (U Vᵀ): all are products with K or its transpose.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.clouds import CloudKernel
from partialot.gradients.once import once
from partialot.kernels.primitives import flat
from partialot.modes import ReverseMode


def cloud_product(
    kernel: CloudKernel,
    reg: Float[Tensor, "*batch"],
    potentials: tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch m"]],
    vectors: Float[Tensor, "*#batch m k"],
    tensors: tuple[Float[Tensor, "*#batch n d"], Float[Tensor, "*#batch m d"]],
) -> Float[Tensor, "*batch n k"]:
    """Multiply a kernel with some vectors, in float64, differentiably.

    Args:
        kernel: K, at the potentials.
        reg: The regularisation.
        potentials: f and g, in units of the cost.
        vectors: V.
        tensors: What the prices are inner products of.
    """
    inputs = kernel, reg, *potentials, vectors, *tensors
    return cast(Tensor, _CloudProduct.apply(*inputs))  # pyright: ignore[reportUnknownMemberType]


class _CloudProduct(ReverseMode):
    """A product with a kernel that no memory holds."""

    @staticmethod
    def forward(ctx: Any, kernel: CloudKernel, *inputs: Tensor) -> Tensor:
        ctx.kernel = kernel
        product = kernel.times(flat(inputs[3], kernel.batch))
        product = product.reshape(*kernel.batch, *product.shape[-2:])
        # Saved, features are watched: changed in place before the backward pass, they raise.
        ctx.save_for_backward(*inputs, product)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        with torch.no_grad():
            found = _CloudProduct._derivatives(ctx, saved, gradients[0])
        cast_back = (None if x is None else x.to(old.dtype) for x, old in zip(found, saved[:-1], strict=True))
        return once((None, *cast_back), (*saved[:-1], *gradients))

    @staticmethod
    def _derivatives(ctx: Any, saved: Sequence[Tensor], upstream: Tensor) -> tuple[Tensor | None, ...]:
        reg, f, g, vectors, _, _, product = saved
        kernel = cast(CloudKernel, ctx.kernel)
        scale, batch = reg.double().reshape(-1, 1), kernel.batch
        flowing, values = flat(upstream, batch), flat(vectors, batch)
        back = kernel.transposed.times(flowing)
        of_f = ((flowing * flat(product, batch)).sum(-1) / scale).reshape(f.shape)
        of_g = ((values * back).sum(-1) / scale).reshape(g.shape)
        of_vectors = back.reshape(*batch, *back.shape[-2:]).sum_to_size(vectors.shape)
        if not any(ctx.needs_input_grad[i] for i in (1, 5, 6)):
            return None, of_f, of_g, of_vectors, None, None
        paid, of_left, of_right = kernel.pull_back(-flowing / scale.unsqueeze(-1), values)
        of_reg = -(paid.reshape(reg.shape) + (f * of_f).sum(-1) + (g * of_g).sum(-1)) / reg
        return of_reg, of_f, of_g, of_vectors, of_left, of_right
