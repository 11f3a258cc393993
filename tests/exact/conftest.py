"""Context networks that the tests of the exact layer share, since a fit takes a second."""

from __future__ import annotations

import numpy as np
import pytest
from exact_layers import head_phantom

from napari_inr_volume.core.generators import drain
from napari_inr_volume.exact.learn import learn
from napari_inr_volume.exact.network import Network


@pytest.fixture(scope="session")
def networks() -> tuple[Network, Network]:
    """Networks fitted to a small phantom, which code any other levels too, if with more bytes."""
    levels = head_phantom((5, 29, 31)).astype(np.int32) + 2000
    return drain(learn(lambda region: levels[region], levels.shape, 16))
