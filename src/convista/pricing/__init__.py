"""What a network costs, counted on its shapes before anything is computed."""

from convista.pricing.count import price

__all__ = ["price"]
