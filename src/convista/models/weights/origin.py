"""What weights ask of their network beyond its shape."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from convista.records import Preprocessing

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """What weights ask of their network beyond its shape; None where the file does not say.

    `padding` is `"same"` for TensorFlow's, `"zeros"` for that of Keras' NASNet, `eps` that of batch normalisation.
    `framework` is `"keras"` where the network decides the rest. `channel_order` is `"bgr"` for weights from Caffe.
    `padding` is `"symmetric"` where that is known. `network` is our name of the network that they are of, if known.
    """

    padding: str | None = None
    eps: float | None = None
    preprocessing: Preprocessing | None = None
    licence: str = ""
    framework: str = ""
    channel_order: str = "rgb"
    network: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Text for a safetensors header; `of_metadata` reads it back."""
        return {"convista": json.dumps({key: value for key, value in asdict(self).items() if value})}
