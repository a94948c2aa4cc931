"""From files to batches: every file looked at once, decoded once, and never in two splits."""

from convista.data.augment import flip_changes_class
from convista.data.batches import Normalise, channel_statistics, eval_batches, global_batches, train_view
from convista.data.cache import PixelCache, user_cache
from convista.data.decode import BadPictureError, Decoded, decode
from convista.data.folder import Entry, list_pictures
from convista.data.pictures import (
    Pictures,
    Prepared,
    cache_in,
    inspect,
    open_cache,
    prepare,
    reasons,
    stored_side,
)
from convista.data.source import Source, UnreadableError, open_source
from convista.data.split import BadFile, Picture

__all__ = [
    "BadFile",
    "BadPictureError",
    "Decoded",
    "Entry",
    "Normalise",
    "Picture",
    "Pictures",
    "PixelCache",
    "Prepared",
    "Source",
    "UnreadableError",
    "cache_in",
    "channel_statistics",
    "decode",
    "eval_batches",
    "flip_changes_class",
    "global_batches",
    "inspect",
    "list_pictures",
    "open_cache",
    "open_source",
    "prepare",
    "reasons",
    "stored_side",
    "train_view",
    "user_cache",
]
