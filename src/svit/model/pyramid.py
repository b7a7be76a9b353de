"""Three encoder outputs -> maps at half, one and two times the patch stride (semantics section 1)."""

from __future__ import annotations

from torch import Tensor, nn

from svit.model.layers import ChannelNorm


class Level(nn.Module):
    """Rescales one map, then 1x1, norm, 3x3, norm."""

    def __init__(self, inputs: int, channels: int, rescale: nn.Module) -> None:
        super().__init__()
        self.rescale = rescale
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.norm1 = ChannelNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = ChannelNorm(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, Y, X) -> (N, c, y, x)."""
        out = self.norm1(self.conv1(self.rescale(maps)))
        if out[0].numel() < self.conv2.weight.numel():
            out = out.contiguous()  # its layout is the kernel's: else the larger of the two would be copied
        return self.norm2(self.conv2(out))


class Pyramid(nn.Module):
    """The official feature-pyramid adaptor: width/2, width, 2 x width channels at strides 8, 16, 32.

    Args:
        inputs: channels of the encoder's maps.
        width: channels of the middle map; officially those of the encoder.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.channels = (half, width, 2 * width)
        self.levels = nn.ModuleList(
            [
                Level(half, half, nn.ConvTranspose2d(inputs, half, 2, stride=2)),
                Level(inputs, width, nn.Identity()),
                Level(inputs, 2 * width, nn.MaxPool2d(2)),
            ]
        )

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """Three maps (B, T, C, Y, X), shallow to deep -> three maps (B, T, c, y, x), fine to coarse.

        An odd side loses its last row or column at the coarsest scale, as max pooling does.
        """
        return [
            level(stage.flatten(0, 1)).unflatten(0, stage.shape[:2])
            for level, stage in zip(self.levels, stages, strict=True)
        ]
