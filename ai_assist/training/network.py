"""The network of cxr-qc: a small MONAI residual network with four answers."""

from typing import cast

import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

SIDE = 64
SCORES = (
    "chest",
    "inverted",
    "turned",
    "turned_90",
    "turned_180",
    "turned_270",
    "mirrored",
)
ANSWERS = len(SCORES)


def build() -> nn.Module:
    """Return the untrained network: (films, 1, 64, 64) in [0, 1] -> (films, 7) logits."""
    return cast(
        nn.Module,
        ResNet(
            block="basic",
            layers=[1, 1, 1, 1],
            block_inplanes=[16, 32, 64, 128],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=7,
            conv1_t_stride=2,
            no_max_pool=True,
            num_classes=ANSWERS,
        ),
    )


class Scored(nn.Module):
    """The network with its answers as shares in [0, 1].

    Of the seven logits the first two and the last are single questions (chest, inverted,
    mirrored); those between are the four turns by 0, 90, 180 and 270 degrees, of which one holds.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        """Return (films, 7) scores in the order of `SCORES`; `turned` is the sum of its three."""
        logits = self.network(films * 2.0 - 1.0)
        single = torch.sigmoid(logits)
        turns = torch.softmax(logits[:, 2:6], dim=1)
        return torch.cat([single[:, :2], 1.0 - turns[:, :1], turns[:, 1:], single[:, 6:]], dim=1)


def parameter_count(network: nn.Module) -> int:
    """Return how many numbers training settles."""
    return sum(weights.numel() for weights in network.parameters())
