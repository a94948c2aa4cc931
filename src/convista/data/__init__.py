"""From files to batches: every file looked at once, decoded once, and never in two splits."""

from convista.data.ahead import Ahead
from convista.data.augment import Augmentation, Batch
from convista.data.batches import (
    Normalise,
    centre,
    channel_statistics,
    eval_batches,
    eval_view,
    global_batches,
    steps_in_epoch,
)
from convista.data.cache import PixelCache, user_cache
from convista.data.chance import permutation
from convista.data.decode import BadPictureError, Decoded, decode, squared, upright
from convista.data.folder import Entry, list_pictures
from convista.data.mixing import Mixing
from convista.data.opening import check_data, lasting_address, open_source
from convista.data.pictures import (
    Pictures,
    Prepared,
    complete,
    digest_of,
    inspect,
    open_cache,
    pictures_of,
    prepare,
    quiet_pillow,
    reasons,
    stored_side,
    usual_side,
)
from convista.data.plan import Plan, plans
from convista.data.policy import WORDS, Policy, flip_changes_class, for_classes, mirrors_note, read_policy
from convista.data.resident import Resident
from convista.data.rows import RowFile
from convista.data.source import NO_LABELS, Source, UnlabelledSource, UnreadableError
from convista.data.split import Picture, drop_conflicts, in_turn, some_of_each

__all__ = [
    "NO_LABELS",
    "WORDS",
    "Ahead",
    "Augmentation",
    "BadPictureError",
    "Batch",
    "Decoded",
    "Entry",
    "Mixing",
    "Normalise",
    "Picture",
    "Pictures",
    "PixelCache",
    "Plan",
    "Policy",
    "Prepared",
    "Resident",
    "RowFile",
    "Source",
    "UnlabelledSource",
    "UnreadableError",
    "centre",
    "channel_statistics",
    "check_data",
    "complete",
    "decode",
    "digest_of",
    "drop_conflicts",
    "eval_batches",
    "eval_view",
    "flip_changes_class",
    "for_classes",
    "global_batches",
    "in_turn",
    "inspect",
    "lasting_address",
    "list_pictures",
    "mirrors_note",
    "open_cache",
    "open_source",
    "permutation",
    "pictures_of",
    "plans",
    "prepare",
    "quiet_pillow",
    "read_policy",
    "reasons",
    "some_of_each",
    "squared",
    "steps_in_epoch",
    "stored_side",
    "upright",
    "user_cache",
    "usual_side",
]
