"""What makes models faster on a CPU, in one place."""

from torch import nn

from raykd.models.cpu_attention import use_cpu_attention
from raykd.models.cpu_dropout import use_cpu_dropout
from raykd.models.cpu_linear import use_cpu_linear


def use_cpu_kernels(model: nn.Module) -> None:
    """Give a model faster attention, dropout and linear layers for CPUs; on other devices nothing changes.

    Names and parameters stay what they are.
    """
    use_cpu_attention(model)
    use_cpu_dropout(model)
    use_cpu_linear(model)
