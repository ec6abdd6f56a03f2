"""How far networks look: by hand, by the project's own, and for all that has no end."""

import pytest
import torch
from torch import nn

from geoseg.models.networks import GeosegUNet
from geoseg.models.reach import measure, structural_reach


def conv(inputs, outputs, kernel=3):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def dilated(step):
    return nn.Conv2d(2, 2, 3, padding=step, dilation=step)


class Gate(nn.Module):
    """Squeeze and excite: every pixel weighs by the mean of the chip."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.inner(x.mean(dim=(2, 3), keepdim=True)))


class Attention(nn.Module):
    """Every pixel asks every other."""

    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(2, 1, batch_first=True)

    def forward(self, x):
        tokens = nn.functional.avg_pool2d(x, 8)
        flat = tokens.flatten(2).transpose(1, 2)
        mixed, _ = self.attend(flat, flat, flat, need_weights=False)
        back = mixed.transpose(1, 2).unflatten(2, tokens.shape[2:])
        return nn.functional.interpolate(back, scale_factor=8.0, mode="nearest")


class Scaled(nn.Module):
    """A residual branch that starts almost silent, as ConvNeXt's do."""

    def __init__(self):
        super().__init__()
        self.inner = conv(2, 2, 7)
        self.gamma = nn.Parameter(torch.full((2, 1, 1), 1e-6))

    def forward(self, x):
        return x + self.gamma * self.inner(x)


class Standardised(nn.Conv2d):
    """A convolution that takes the mean out of its weights before use, as NFNets do."""

    def forward(self, x):
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, padding=self.padding)


KNOWN = {
    "1x1": (nn.Conv2d(2, 3, 1), 1, 0),
    "3x3 and 5x5": (nn.Sequential(conv(2, 2), nn.ReLU(), conv(2, 2, 5)), 1, 3),
    "dilated": (dilated(6), 1, 6),
    "cancels": (nn.Sequential(conv(2, 4), nn.BatchNorm2d(4), nn.GELU(), conv(4, 2)), 1, 2),
    # Halving by mean, one 3x3 there, doubling: from the last of a pair to the first of the one
    # before the one before: 2 + 1.
    "half": (
        nn.Sequential(nn.AvgPool2d(2), conv(2, 2), nn.Upsample(scale_factor=2.0)),
        2,
        3,
    ),
    "max pool": (nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=4.0)), 4, 3),
    "far": (nn.Sequential(dilated(45), dilated(45)), 1, 90),
    "layer scale": (nn.Sequential(Scaled(), Scaled()), 1, 6),
    "standardised": (Standardised(2, 2, 5, padding=2), 1, 2),
    "gate": (nn.Sequential(conv(2, 2), Gate()), 1, None),
    "attention": (nn.Sequential(Attention(), conv(2, 2)), 8, None),
    "group norm": (nn.Sequential(conv(2, 2), nn.GroupNorm(1, 2)), 1, None),
    "too far to tell": (nn.Sequential(dilated(170), dilated(170)), 1, None),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks(name):
    network, stride, reach = KNOWN[name]
    assert structural_reach(network, bands=2, stride=stride) == reach


def test_a_network_that_nothing_moves_is_not_known_to_be_local():
    class Deaf(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    assert structural_reach(Deaf(), bands=2, stride=1) is None


def test_the_network_measured_stays_as_it_was():
    network = nn.Sequential(conv(2, 2), nn.ReLU()).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network, bands=2, stride=1, size=32)
    assert network.training
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_own_network_reaches_48_pixels():
    network = GeosegUNet(2, 2, widths=(2, 2, 2, 2))
    found = measure(network, bands=2, stride=8, size=64)
    assert found.reach == 48
    assert found.parameters == sum(p.numel() for p in network.parameters())


def test_blocks_make_the_own_network_reach_farther():
    reaches = [
        structural_reach(GeosegUNet(1, 1, widths=(1, 1, 1, 1), depths=(0, 0, n)), bands=1, stride=8)
        for n in (0, 1)
    ]
    # One more 3x3 at an eighth of the resolution.
    assert reaches[1] - reaches[0] == 8


def test_trained_weights_reach_no_farther():
    torch.manual_seed(1)
    network = GeosegUNet(2, 2, widths=(4, 4, 4, 4)).double().eval()
    chip = torch.randn(1, 2, 160, 160, dtype=torch.float64)
    with torch.inference_mode():
        still = network(chip)
        for at in range(80, 88):
            pushed = chip.clone()
            pushed[..., at, at] += 1000.0
            moved = torch.nonzero((network(pushed) != still).any(dim=1)[0])
            assert (moved - at).abs().max() <= 48


def test_costs_of_one_convolution():
    network = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    found = measure(network, bands=2, stride=1, size=32)
    assert found.flops_per_pixel == 2 * 2 * 3 * 9
    assert found.parameters == 54
    # Its output, three numbers of four bytes.
    assert 12 <= found.activation_bytes <= 24
