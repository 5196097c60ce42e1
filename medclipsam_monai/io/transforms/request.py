"""What a request asks of an image, carried along with it.

MONAI Label's own app writes what a client sends into a bundle's configuration, where a text that begins with a dollar
sign would be run as Python. It also lies beside the image in the data, where it is a value and nothing else.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

REQUEST = "request"
"""Key of the meta data of an image."""


class KeepRequestd(MapTransform):
    """Put options that lie beside an image into its meta data, under "request".

    Args:
        keys: keys of the images, MetaTensors.
        names: keys of the options; those that are not there are left out.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(self, keys: KeysCollection, names: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names = tuple(names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        changed = dict(data)
        asked = {name: changed[name] for name in self.names if changed.get(name) is not None}
        for key in self.key_iterator(changed):
            if asked and isinstance(changed[key], MetaTensor):
                changed[key].meta[REQUEST] = asked
        return changed


def asked_of(image: Tensor) -> Mapping[str, Any]:
    """The options in an image's meta data; none in a plain tensor."""
    found = image.meta.get(REQUEST) if isinstance(image, MetaTensor) else None
    return found if isinstance(found, Mapping) else {}


KeepRequestD = KeepRequestDict = KeepRequestd
