"""What the encoder makes of a video, frame by frame, and recognition by comparing it with words.

Shapes: C channels of a frame token, Y X rows and columns of a map, K labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import supervision as sv
import torch
from torch import Tensor

from svit.config import ActionConfig
from svit.errors import UsageError
from svit.model.frame_token import FrameToken
from svit.model.memory import StreamMemory
from svit.model.preprocess import preprocess
from svit.model.video_model import VideoModel
from svit.stream import Sampling
from svit.types import ActionScores, Frame, FrameResult, Image
from svit.video.tensors import TensorWriter
from svit.weights.text import LabelEmbeddings


@dataclass(frozen=True, eq=False)
class Features:
    """What the encoder makes of one frame.

    Attributes:
        token: (C,) the frame token: the action head's, or without one the mean of the last map.
        stages: per output of the encoder a map (C, Y, X) after its norm.
    """

    token: Tensor
    stages: list[Tensor]


class FeatureStream:
    """ONE video through the encoder, with its memory. The model may serve any number of them.

    Args:
        model: holds no state, is not changed.
        memory: frames remembered, the current one included; None is the model's own setting.
        multiple: sides of the input are filled up with zeros to a multiple of this, pixels; None is the
            model's, as everywhere.

    Raises:
        UsageError: the encoder has no outputs, or the memory is below 1.
    """

    def __init__(self, model: VideoModel, memory: int | None = None, multiple: int | None = None) -> None:
        encoder = model.config.encoder
        if not encoder.outputs:
            raise UsageError(f"model '{model.config.name}' has an encoder without outputs, so no features")
        self.model = model
        own = None if model.action is None else model.action.token
        self._token = own or FrameToken("mean", encoder.width, encoder.heads)
        self._multiple = multiple or model.config.stride
        self._memory = StreamMemory.for_model(encoder, memory)
        self._shape: torch.Size | None = None

    @property
    def token(self) -> str:
        """What the frame token is; see `ActionConfig.token`."""
        return self._token.kind

    @torch.no_grad()
    def step(self, image: Image) -> Features:
        """The features of the next frame; where its size changes, the memory starts anew.

        Raises:
            UsageError: not an RGB uint8 picture.
        """
        config = self.model.config
        inputs = preprocess(image, config.input, self._multiple, self.model.encoder.positions.device)
        if self._shape not in (None, inputs.shape):
            self._memory = self._memory.fresh()
        self._shape = inputs.shape
        encoding = self.model.encoder.encode(inputs[None, None], self._memory)
        self._memory = encoding.memory
        return Features(self._token(encoding)[0, 0], [stage[0, 0] for stage in encoding.stages])


class FeatureFile:
    """Writes the features of a source: `tokens` (T, C), `timestamps` (T,), `frames` (T,), and maps.

    Maps are `stages.5` and so on, (T, C, Y, X), by the encoder's blocks (from 0); timestamps are float64
    seconds since the first frame, frames int64 numbers in the source. All in the model's precision.

    Args:
        path: ends in .safetensors; see `TensorWriter`.
        stream: whose features are written.
        stages: write the maps too.
    """

    def __init__(self, path: str | Path, stream: FeatureStream, stages: bool = False) -> None:
        self._writer, self._stream, self._stages = TensorWriter(path), stream, stages
        self.frames = 0

    def write(self, frame: Frame) -> None:
        """Computes and writes the features of the next frame.

        Raises:
            UsageError: maps of another size than before.
            OutputError: they cannot be written.
        """
        features = self._stream.step(frame.image)
        blocks = self._stream.model.config.encoder.outputs if self._stages else ()
        try:
            for block, stage in zip(blocks, features.stages, strict=False):
                self._add(f"stages.{block}", stage)
        except ValueError:
            size = f"{frame.image.shape[1]}x{frame.image.shape[0]}"
            raise UsageError(
                f"frame {frame.index}: the size changes to {size}, and maps of one file must be of one size; "
                "leave --stages away, or cut the video there"
            ) from None
        self._add("tokens", features.token)
        self._add("timestamps", torch.tensor(frame.timestamp, dtype=torch.float64))
        self._add("frames", torch.tensor(frame.index))
        self.frames += 1

    def close(self, source: str, complete: bool) -> None:
        """Finishes the file; without a frame there is none.

        Args:
            source: what the video is called.
            complete: it was seen to its end.

        Raises:
            OutputError: it cannot be written.
        """
        if not self.frames:
            self.discard()
            return
        model = self._stream.model.config.name
        facts = {
            "model": model,
            "source": source,
            "token": self._stream.token,
            "complete": str(complete).lower(),
        }
        self._writer.close({"format": "pt", **facts})

    def discard(self) -> None:
        """Leaves nothing behind."""
        self._writer.discard()

    def _add(self, name: str, tensor: Tensor) -> None:
        tensor = tensor.cpu().contiguous()
        if tensor.dtype == torch.bfloat16:  # which numpy does not know
            self._writer.add(name, tensor.view(torch.int16).numpy(), "BF16")
        else:
            self._writer.add(name, tensor.numpy())


def compare_with_labels(
    frames: Iterable[Frame],
    model: VideoModel,
    labels: LabelEmbeddings,
    memory: int | None = None,
    as_clip: bool = False,
) -> Iterator[FrameResult]:
    """Zero-shot recognition: the likeness of the frames in the window to each label, by CLIP.

    Frame tokens are projected into CLIP's common space and made unit length; the mean of those in the window
    is compared with the labels (cosine), and CLIP's temperature makes probabilities of that (Radford et al.
    2021, section 3.1; the mean over frames as in CLIP4Clip, Luo et al. 2021).

    Args:
        frames: of one source.
        model: whose frame token is CLIP's class token.
        labels: from `svit.weights.text.embed_labels`.
        memory: as in `FeatureStream`.
        as_clip: look at the centre square of each frame, filled up to whole patches, as CLIP itself does.

    Raises:
        UsageError: the frame token is another, or of another width than CLIP's.
    """
    action = check_comparable(model, labels)
    stream = FeatureStream(model, memory, model.config.encoder.patch if as_clip else None)
    labels = labels.to(model.encoder.positions.device)
    nothing, sampling = sv.Detections.empty(), Sampling(action.rate)
    window: deque[Tensor] = deque(maxlen=action.window)
    for frame in frames:
        token = stream.step(centre_square(frame.image) if as_clip else frame.image).token
        enters, sampling = sampling.next(frame.timestamp)
        if enters:
            window.append(labels.embed(token))
        scores = ActionScores(labels.names, labels.probabilities(torch.stack(list(window)).mean(0)))
        yield FrameResult(frame.index, frame.timestamp, nothing, nothing, frame.image, scores)


def check_comparable(model: VideoModel, labels: LabelEmbeddings) -> ActionConfig:
    """The settings of a model's action head, if its frame tokens can be compared with labels.

    Raises:
        UsageError: see `compare_with_labels`.
    """
    action, name = model.config.action, model.config.name
    if action is None or action.token != "cls":
        raise UsageError(
            f"model '{name}' has no frame token of CLIP's (action.token: cls), so it cannot be compared with "
            "words"
        )
    theirs, own = labels.projection.shape[1], model.config.encoder.width
    if theirs != own:
        raise UsageError(
            f"this CLIP has frame tokens of width {theirs}, model '{name}' of {own}; give the CLIP that the "
            "model started from"
        )
    return action


def centre_square(image: Image) -> Image:
    """The largest square in the middle of a picture (height, width, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
