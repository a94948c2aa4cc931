"""Self-supervision: features of pictures that nobody has labelled, by SimCLR and MoCo."""

from convista.selfsup.contrast import info_nce, nt_xent
from convista.selfsup.encoder import Encoder, Learner, moco_head, simclr_head
from convista.selfsup.judge import Judge, Pixels
from convista.selfsup.keys import Keys
from convista.selfsup.learn import pretrain_network, resume_pretraining
from convista.selfsup.loop import SelfTraining

__all__ = [
    "Encoder",
    "Judge",
    "Keys",
    "Learner",
    "Pixels",
    "SelfTraining",
    "info_nce",
    "moco_head",
    "nt_xent",
    "pretrain_network",
    "resume_pretraining",
    "simclr_head",
]
