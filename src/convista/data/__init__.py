"""From files to batches: every file looked at once, decoded once, and never in two splits."""

from convista.data.augment import flip_changes_class
from convista.data.batches import (
    Normalise,
    centre,
    channel_statistics,
    eval_batches,
    global_batches,
    steps_in_epoch,
    train_view,
)
from convista.data.cache import PixelCache, user_cache
from convista.data.decode import BadPictureError, Decoded, decode, squared, upright
from convista.data.folder import Entry, list_pictures
from convista.data.opening import lasting_address, open_source
from convista.data.pictures import (
    Pictures,
    Prepared,
    complete,
    inspect,
    open_cache,
    pictures_of,
    prepare,
    quiet_pillow,
    reasons,
    stored_side,
)
from convista.data.source import Source, UnreadableError
from convista.data.split import Picture, drop_conflicts

__all__ = [
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
    "centre",
    "channel_statistics",
    "complete",
    "decode",
    "drop_conflicts",
    "eval_batches",
    "flip_changes_class",
    "global_batches",
    "inspect",
    "lasting_address",
    "list_pictures",
    "open_cache",
    "open_source",
    "pictures_of",
    "prepare",
    "quiet_pillow",
    "reasons",
    "squared",
    "steps_in_epoch",
    "stored_side",
    "train_view",
    "upright",
    "user_cache",
]
