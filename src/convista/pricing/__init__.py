"""What a network costs, worked out on its shapes before anything is computed."""

from convista.pricing.count import cost
from convista.pricing.memory import largest_batch, memory

__all__ = ["cost", "largest_batch", "memory"]
