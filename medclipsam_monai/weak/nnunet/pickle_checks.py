"""The pickles that nnU-Net's preprocessing leaves beside each case, looked at before its training opens them.

nnU-Net opens them with everything that a pickle can do. A work folder may have been copied from elsewhere, so each is
first read here by a reader that makes arrays, numbers and containers, and nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return super().find_class(module, name)


def check_case_pickles(folder: Path) -> None:
    """Make sure that the pickles of a preprocessed data set hold plain data.

    Args:
        folder: of the data set.

    Raises:
        InputError: naming the first that would run code, or is damaged.
    """
    for path in sorted(folder.rglob("*.pkl")):
        try:
            with path.open("rb") as file:
                _Reader(file).load()
        except Exception as error:  # damaged bytes make the reader of pickles fail in any way there is
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{path} is refused ({reason}); expected arrays and numbers, plan again") from error
