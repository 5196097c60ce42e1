"""What the viewers' MONAI Label plugins do with a server, ported line by line from their source.

OHIF: extensions/monai-label of the plugin that MONAI Label 0.8.5 serves (MonaiLabelPanel, AutoSegmentation,
ClassPrompts, PointPrompts, MonaiLabelClient, SegmentationReader, currentSegmentsInfo). 3D Slicer: MONAILabel.py and
MONAILabelLib/client.py, and ImportLabelmapToSegmentationNode of Slicer's segmentations logic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import requests
import SimpleITK as sitk
from label_server import LabelServer
from requests_toolbelt.multipart import decoder


class Ohif:
    """OHIF's panel with one image open."""

    def __init__(self, server: LabelServer, image: str, frames: int) -> None:
        self.server, self.image, self.frames = server, image, frames
        self.segments: dict[str, int] = {}
        self.volume: np.ndarray | None = None
        self.info: dict[str, Any] = {}
        self.options: dict[str, dict[str, Any]] = {}
        self.press_arrow()

    def press_arrow(self) -> None:
        """onInfo: the maps between names and numbers; segments only where no segmentation is loaded yet."""
        data = requests.get(f"{self.server.url}/info/").json()
        all_labels = list(data["labels"])
        to_idx: dict[str, dict[str, int]] = {}
        for model, task in data["models"].items():
            labels = task["labels"]
            pairs = labels.items() if isinstance(labels, dict) else ((name, n) for n, name in enumerate(labels, 1))
            to_idx[model] = dict(pairs)
            all_labels += to_idx[model]
        if self.volume is None:
            self.segments = {name: n for n, name in enumerate(sorted(set(all_labels)), start=1)}
        self.info = {"data": data, "to_idx": to_idx, "names": {m: sorted(to_idx[m]) for m in to_idx}}
        self.labels = sorted(set(all_labels))

    def reload_page(self) -> None:
        self.volume, self.options = None, {}
        self.press_arrow()

    def auto_segmentation(self, model: str) -> None:
        params = self.options.get(model, {})
        self._update(self._infer(model, params), model, self.info["names"][model])

    def class_prompts(self, model: str, ticked: list[str]) -> None:
        numbers = [self.info["to_idx"][model][name] for name in ticked]
        params = self.options.get(model, {})
        params["label_prompt"] = numbers
        self._update(self._infer(model, params), model, ticked, override=True)

    def point_prompts(self, label: str, foreground: list[list[int]], model: str = "clicks") -> None:
        frame = foreground[-1][2]
        params = {**self.options.get(model, {}), "foreground": [p for p in foreground if p[2] == frame]}
        params["background"] = []
        self._update(self._infer(model, params), model, [label], True, True, frame)

    def shown(self, name: str) -> np.ndarray:
        """The voxels under a segment's name, flat in the file's order."""
        assert self.volume is not None
        return self.volume == self.segments[name]

    def submit(self) -> requests.Response:
        """save_label of the client: the bare voxels, and the names that the segments have."""
        assert self.volume is not None
        said = [{"name": name, "idx": number, "description": ""} for name, number in self.segments.items()]
        return requests.put(
            f"{self.server.url}/datastore/label",
            params={"image": self.image},
            data={"params": json.dumps({"label_info": said})},
            files={"label": ("label.bin", self.volume.tobytes())},
        )

    def _infer(self, model: str, params: dict[str, Any]) -> np.ndarray:
        params |= {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
        params["restore_label_idx"] = False
        answer = self.server.infer(model, self.image, output="image", **params)
        assert answer.status_code == 200, answer.text
        return parse_nrrd(answer.content)

    def _update(
        self,
        data: np.ndarray,
        model: str,
        labels: list[str],
        override: bool = False,
        unknown: bool = False,
        frame: int = -1,
    ) -> None:
        names: dict[str, int] = {}
        indices = set(self.segments.values())
        mapping = {0: 0}
        for place, label in enumerate(labels, start=1):
            if label in self.segments:
                names[label] = self.segments[label]
            else:
                names[label] = next(i for i in range(1, 256) if i not in indices)
                indices.add(names[label])
            mapping[self.info["to_idx"][model].get(label) or place] = 0xFF & names[label]
        converted = data.copy()
        for value in np.unique(data):
            segment = mapping.get(int(value), 0)
            if value and segment:
                converted[data == value] = segment
            elif override and unknown and len(labels) == 1:
                converted[data == value] = names[labels[0]] if value else 0
            elif labels:
                converted[data == value] = 0
        current = np.zeros_like(data) if self.volume is None else self.volume
        if override:
            targets, merged = set(np.unique(converted).tolist()), current.copy()
            length = len(data) // self.frames
            part = slice(length * frame, length * (frame + 1)) if frame >= 0 else slice(None)
            replace = np.isin(current[part], list(targets)) & (converted[part] != 255)
            merged[part][replace] = converted[part][replace]
            converted = merged
        self.volume = converted


def parse_nrrd(content: bytes) -> np.ndarray:
    """nrrd-js: the raw voxels of an uncompressed file of one byte a voxel, flat."""
    header, _, voxels = content.partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines()[1:] if ": " in line)
    assert fields["encoding"] == "raw" and fields["type"] in ("unsigned char", "uint8", "uchar")
    values = np.frombuffer(voxels, np.uint8)
    assert len(values) == np.prod([int(size) for size in fields["sizes"].split()])
    return values.copy()


class Slicer:
    """3D Slicer's module with one volume open."""

    def __init__(self, server: LabelServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.segments: dict[str, np.ndarray] = {}
        self.image = ""
        self.shape: tuple[int, ...] = ()

    def upload(self, name: str, file: Path) -> requests.Response:
        self.image = name
        return requests.put(
            f"{self.server.url}/datastore/?image={quote_plus(name)}",
            data={"params": json.dumps({"client_id": "user"})},
            files={"file": (str(file), file.read_bytes())},
        )

    def infer(self, model: str, **params: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """The label map (z, y, x) and the answer's JSON; no "output" is asked for."""
        params |= {"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user"}
        answer = requests.post(
            f"{self.server.url}/infer/{model}?image={quote_plus(self.image)}", data={"params": json.dumps(params)}
        )
        assert answer.status_code == 200, answer.text
        parts = decoder.MultipartDecoder.from_response(answer).parts
        (form,) = (part for part in parts if b'name="params"' in part.headers[b"Content-Disposition"])
        (file,) = (part for part in parts if b'name="image"' in part.headers[b"Content-Disposition"])
        path = self.folder / "answer.nrrd"
        path.write_bytes(file.content)
        return sitk.GetArrayFromImage(sitk.ReadImage(path)), json.loads(form.text)

    def run(self, model: str, **params: Any) -> None:
        """onClickSegmentation: the n-th name has the voxels n."""
        labels, said = self.infer(model, **params)
        names = said.get("label_names") or self.server.info()["models"][model]["labels"]
        names = [name for name, _ in sorted(names.items(), key=lambda item: item[1])]
        for number, name in enumerate(names, start=1):
            self.segments[name] = labels == number

    def smart_edit(self, segment: str, **params: Any) -> None:
        """onClickDeepgrow: what was found becomes the segment that is chosen, on the slice that was clicked."""
        labels, _ = self.infer("clicks", label=segment, **params)
        values = [value for value in np.unique(labels) if value]
        assert len(values) == 1
        self.segments[segment] = labels == values[0]

    def submit(self) -> requests.Response:
        """onSaveLabel: the segments one after the other, from 1 on."""
        label = np.zeros(next(iter(self.segments.values())).shape, np.uint8)
        for number, mask in enumerate(self.segments.values(), start=1):
            label[mask] = number
        image = sitk.GetImageFromArray(label)
        image.CopyInformation(sitk.ReadImage(self.folder / "answer.nrrd"))
        path = self.folder / "label.nii.gz"
        sitk.WriteImage(image, path)
        said = [{"name": name, "idx": number} for number, name in enumerate(self.segments, start=1)]
        return requests.put(
            f"{self.server.url}/datastore/label?image={quote_plus(self.image)}",
            data={"params": json.dumps({"label_info": said, "client_id": "user"})},
            files={"label": (str(path), path.read_bytes())},
        )
