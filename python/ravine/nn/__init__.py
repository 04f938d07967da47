"""What optimizers update, under torch.nn's names."""

from ravine.nn.parameter import Parameter

__all__ = ["Parameter"]
