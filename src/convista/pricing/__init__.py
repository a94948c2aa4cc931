"""What a network costs, worked out on its shapes before anything is computed."""

from convista.pricing.claims import Claim, claims
from convista.pricing.compare import Beside, beside
from convista.pricing.count import cost
from convista.pricing.latency import Latency, measure
from convista.pricing.memory import largest_batch, memory
from convista.pricing.pick import Choice, Excluded, Picked, pick
from convista.pricing.scale import Scaled, scale
from convista.pricing.whatif import CHANGES, Saving, WhatIf, changed, changes_of, what_if

__all__ = [
    "CHANGES",
    "Beside",
    "Choice",
    "Claim",
    "Excluded",
    "Latency",
    "Picked",
    "Saving",
    "Scaled",
    "WhatIf",
    "beside",
    "changed",
    "changes_of",
    "claims",
    "cost",
    "largest_batch",
    "measure",
    "memory",
    "pick",
    "scale",
    "what_if",
]
