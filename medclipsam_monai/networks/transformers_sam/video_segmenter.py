"""A promptable network with its video's memory: what is found in one picture is followed through those beside it.

SAM 2 (arXiv:2408.00714, section 4) and EdgeTAM (arXiv:2501.07256): what is seen in a new picture attends to what was
found in the last ones, and a score says whether the object is still there. Sessions, memory and its attention are those
of transformers; what is here gives them pictures that are encoded already, one after the other, and lets go of what
they no longer read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.networks.protocols import Tracked
from medclipsam_monai.networks.sam.prompt_checks import check_prompts
from medclipsam_monai.networks.transformers_sam.frames import Frame
from medclipsam_monai.networks.transformers_sam.segmenter import PictureEmbedding, TransformersSegmenter

SHARED = ("shared_image_embedding", "vision_encoder", "prompt_encoder", "mask_decoder")
"""The parts that a video's network and its picture's have in common."""
_MASKS = ("pred_masks", "high_res_masks")
_MEMORY = ("maskmem_features", "maskmem_pos_enc")
_BOX_CORNERS = (2, 3)


class VideoSegmenter(TransformersSegmenter):
    """A `TransformersSegmenter` that can follow what it found, as `PropagatingSegmenter` asks for.

    Args:
        network: the picture's network, see `TransformersSegmenter`.
        frame: how pictures lie in its input.
        load_video: makes the video's network of the picture's, whose parts it shares; called once, at the first use,
            as pictures need none of it.
        decode_chunk: how many prompts are decoded together.
    """

    def __init__(
        self, network: Any, frame: Frame, load_video: Callable[[nn.Module], nn.Module], decode_chunk: int = 16
    ) -> None:
        self.__dict__["_position_encoding"] = (
            network.vision_encoder.neck.position_encoding
        )  # which the parent takes out
        super().__init__(network, frame, decode_chunk)
        self._load_video = load_video
        self.__dict__["_video"] = None  # no child: its parts are the network's, and the rest is not saved with it

    def _maps(self, inputs: Tensor) -> Sequence[Tensor]:
        """As the parent's, without the mark of a picture that has none before it."""
        found = self.network.get_image_features(inputs)
        flat = found[0] if isinstance(found, tuple) else found.fpn_hidden_states  # a tuple before transformers 5
        sizes = self.network.backbone_feature_sizes
        return [one.permute(1, 2, 0).unflatten(2, tuple(size)) for one, size in zip(flat, sizes, strict=True)]

    def _decoded(self, maps: list[Tensor]) -> list[Tensor]:
        return [*maps[:-1], maps[-1] + self.network.no_memory_embedding.view(1, -1, 1, 1)]

    def track(self, length: int) -> MemoryTrack:
        """A new walk through pictures in their order, with an empty memory; weights that it needs are read once.

        Args:
            length: how many pictures there are at most, the first included.

        Raises:
            InputError: the weights of the memory are missing or do not fit.
        """
        if self._video is None:
            self.__dict__["_video"] = self._load_video(self.network)
        video = self._video.to(self.device)
        return MemoryTrack(video, self.frame, self._position_encoding, max(1, length))


class MemoryTrack:
    """Objects on their way through pictures, whose memory is bounded whatever the number of pictures.

    Args:
        video: the network.
        frame: how pictures lie in its input.
        position_encoding: the neck's sine positions.
        length: the number of pictures; up to 16, networks measure by it how far back a picture lies.
    """

    def __init__(self, video: Any, frame: Frame, position_encoding: Any, length: int) -> None:
        import transformers

        self._video, self._frame, self._position_encoding = video, frame, position_encoding
        self._device = next(video.parameters()).device
        session = getattr(transformers, type(video).__name__.removesuffix("Model") + "InferenceSession")
        # Pictures come as features, so those of the session are placeholders; it asks for their number.
        self._session = session(
            video=torch.empty(length, 0),
            inference_device=self._device,
            inference_state_device=self._device,
            dtype=torch.float32,
        )
        self._number = 0

    def begin(
        self,
        embedding: PictureEmbedding,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tracked:
        """N objects that N prompts show in the first picture; the arguments of `PromptableSegmenter.decode`.

        Raises:
            ValueError: if there is no prompt, or shapes do not belong together.
        """
        count = check_prompts(boxes, points, labels)
        scale = self._frame.scale(embedding.image_shape)
        for number in range(count):
            places, kinds = [], []
            if boxes is not None:
                places.append(boxes[number].view(2, 2))
                kinds.append(torch.tensor(_BOX_CORNERS))
            if points is not None and labels is not None:
                places.append(points[number])
                kinds.append(labels[number])
            given = {
                "point_coords": (torch.cat([one.cpu().float() for one in places]) * scale)[None, None],
                "point_labels": torch.cat([one.cpu().int() for one in kinds])[None, None],
            }
            self._session.add_point_inputs(self._session.obj_id_to_idx(number), 0, given)
        self._session.obj_with_new_inputs = list(range(count))
        return self.follow(embedding)

    @torch.no_grad()
    def follow(self, embedding: PictureEmbedding) -> Tracked:
        """The same objects in the next picture."""
        number, self._number = self._number, self._number + 1
        self._session.cache.cache_vision_features(number, self._features(embedding))
        found = self._video(self._session, frame_idx=number)
        scores = self._scores(number)
        self._forget(number)
        logits = found.pred_masks.float().view(len(scores), 1, *found.pred_masks.shape[-2:])
        return Tracked(self._frame.restore(logits, embedding.image_shape)[:, 0].sigmoid(), scores)

    def _features(self, embedding: PictureEmbedding) -> dict[str, list[Tensor]]:
        """A picture's maps (rows * columns, 1, channels) as a session keeps them, and the positions of the last one."""
        maps = [part.to(self._device) for part in embedding.features]
        positions = self._position_encoding(maps[-1].shape, self._device, maps[-1].dtype)
        flat = [part.flatten(2).permute(2, 0, 1) for part in (*maps, positions)]
        return {"vision_feats": flat[:-1], "vision_pos_embeds": flat[-1:]}

    def _scores(self, number: int) -> Tensor:
        """Object scores (N,) in a picture, from the session: older transformers have them nowhere else."""
        groups = self._session.output_dict_per_obj.values()
        kept = [{**one["non_cond_frame_outputs"], **one["cond_frame_outputs"]}[number] for one in groups]
        return torch.cat([one["object_score_logits"].float().reshape(1) for one in kept])

    def _forget(self, number: int) -> None:
        """Let go of what no later picture reads: sessions keep all that they ever found."""
        config = self._video.config
        for outputs in self._session.output_dict_per_obj.values():
            later = outputs["non_cond_frame_outputs"]
            later.pop(number - max(config.num_maskmem, config.max_object_pointers_in_encoder), None)
            for one in (*outputs["cond_frame_outputs"].values(), *later.values()):
                for name in _MASKS:
                    one.pop(name, None)
            for name in _MEMORY:
                later.get(number - config.num_maskmem, {}).pop(name, None)
