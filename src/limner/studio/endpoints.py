"""Everything that can be asked, in one table."""

from __future__ import annotations

from limner.studio import house, pictures, texts, training, vectors
from limner.studio.wire import Endpoint

ALL: tuple[Endpoint, ...] = (
    *house.ENDPOINTS,
    *texts.ENDPOINTS,
    *pictures.ENDPOINTS,
    *training.ENDPOINTS,
    *vectors.ENDPOINTS,
)
