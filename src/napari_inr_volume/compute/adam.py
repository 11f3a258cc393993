"""Adam without torch's `Optimizer`, whose first instance loads torch's compiler: about a second."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam

EPSILON = 1e-8


class Adam:
    """Steps parameters as torch.optim.Adam does, to the last bit; Kingma and Ba 2015.

    `fused` goes over each tensor once, on a CPU or with CUDA. Rate and betas may be set between steps.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        fused: bool = False,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.betas, self.fused = learning_rate, betas, fused
        # Of each parameter, from the first step on: steps done, means of the gradient and of its square.
        self.memory: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the gradients in the parameters' `.grad`."""
        if not self.memory:
            zeros = torch.zeros(())
            self.memory = [
                self.placed(zeros.clone(), torch.zeros_like(each), torch.zeros_like(each))
                for each in self.parameters
            ]
        adam(
            self.parameters,
            [each.grad for each in self.parameters if each.grad is not None],
            [mean for _, mean, _ in self.memory],
            [square for _, _, square in self.memory],
            [],
            [steps for steps, _, _ in self.memory],
            fused=self.fused or None,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def placed(self, steps: Tensor, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a parameter's memory where it is computed with: steps on the CPU, unless it is fused."""
        device = self.parameters[0].device
        return steps.to(device if self.fused else "cpu"), mean.to(device), square.to(device)
