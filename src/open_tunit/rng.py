"""Keyed random streams: what is drawn follows from (seed, purpose, position), never from what was drawn before."""

from __future__ import annotations

import enum

import numpy as np


class Stream(enum.IntEnum):
    """What the numbers are for. A purpose keeps its key for good: runs and figures made with it depend on it."""

    EPOCH_ORDER = 0
    BATCH_VIEWS = 1
    PROTOTYPES = 2
    STATISTICS = 3
    DOMAIN_COUNT = 4
    PAIRS = 5
    STYLES = 6
    DISTILLATION = 7

    EVALUATED_IMAGES = 16
    EVALUATED_PAIRS = 17
    DIVERSITY = 18
    TRAINING_IMAGES = 19
    REPORT_EXAMPLES = 20
    REPORT_MAP = 21


def rng(seed: int, *key: int) -> np.random.Generator:
    """The generator of `seed` for a Stream and, where the stream has several, a position: `rng(seed, stream, step)`.

    Philox keyed by all of it: generators of different keys are independent. Without a key, the seed's own.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *key))))
