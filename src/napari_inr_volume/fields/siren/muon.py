"""Muon for square matrices of one size, all at once.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks": momentum, made
orthogonal by five Newton-Schulz iterations. As torch.optim.Muon without weight decay, which takes several
times as long on small matrices: it goes through them one by one and asks for memory at every operation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic iteration, which pushes every singular value towards 1
ITERATIONS = 5
MOMENTUM = 0.95
LEAST_NORM = 1e-7


class Muon:
    """Steps square matrices (width, width) by their orthogonalised momentum, with Nesterov's look ahead.

    `dtype` is that of the iterations; in bfloat16 they err by about a percent, which Muon does not mind.
    """

    def __init__(
        self, matrices: Sequence[Tensor], learning_rate: float, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self.matrices, self.learning_rate = list(matrices), learning_rate
        shape, device = (len(self.matrices), *self.matrices[0].shape), self.matrices[0].device
        self.gradients, self.momentum = (torch.zeros(shape, device=device) for _ in range(2))
        self.x, self.gram, self.spare = (torch.empty(shape, dtype=dtype, device=device) for _ in range(3))

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the gradients in the matrices' `.grad`."""
        gradients = [matrix.grad for matrix in self.matrices if matrix.grad is not None]
        torch.stack(gradients, out=self.gradients)
        self.momentum.lerp_(self.gradients, 1 - MOMENTUM)
        self.gradients.lerp_(self.momentum, MOMENTUM)
        update = self.orthogonal(self.gradients)
        for matrix, part in zip(self.matrices, update, strict=True):
            matrix.sub_(part, alpha=self.learning_rate)

    def orthogonal(self, matrices: Tensor) -> Tensor:
        """Return matrices (n, width, width) with singular values of about 1 and the same singular vectors."""
        x, gram, spare = self.x, self.gram, self.spare
        norms = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True).clamp_(min=LEAST_NORM)
        torch.div(matrices, norms, out=x)
        for _ in range(ITERATIONS):
            torch.bmm(x, x.transpose(1, 2), out=gram)
            torch.baddbmm(gram, gram, gram, beta=B, alpha=C, out=spare)
            torch.baddbmm(x, spare, x, beta=A, out=gram)
            x, gram = gram, x
        return x
