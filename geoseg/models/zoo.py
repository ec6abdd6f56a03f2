"""The architectures that a card may name, and what each of them takes; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Encoders = Literal["none", "smp or timm", "timm", "timm ViT"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One entry of the zoo.

    Attributes:
        name: What a card or a command calls it.
        title: What it is, with its paper.
        encoders: Which encoders it takes.
        parameters: What else it takes; for those of segmentation-models-pytorch every parameter of
            its class of that name.
        encoder: A small encoder for a first try; "" where it takes none.
        stride: Chips are multiples of it (with that encoder).
        smp: Its class in segmentation-models-pytorch; "" where it is not from there.
        extra: What has to be installed beside geoseg: an optional extra of it.
    """

    name: str
    title: str
    encoders: Encoders
    parameters: tuple[str, ...] = ()
    encoder: str = ""
    stride: int = 32
    smp: str = ""
    extra: str = ""


_LIGHT: Final = "mobilenet_v2"
_ZOO: Final = (
    Architecture("geoseg-unet", "small plain U-Net, exact seams (own)", "none",
                 ("widths", "depths"), stride=8),
    Architecture("dynamicworld", "Dynamic World's network (Brown et al. 2022)", "none", stride=2),
    Architecture("fcn", "FCN (Long et al. 2015)", "timm", ("output_stride",), "resnet18"),
    Architecture("unet", "U-Net (Ronneberger et al. 2015)", "smp or timm",
                 ("encoder_depth", "decoder_channels", "..."), _LIGHT, smp="Unet"),
    Architecture("unetplusplus", "U-Net++ (Zhou et al. 2018)", "smp or timm",
                 ("encoder_depth", "decoder_channels", "..."), _LIGHT, smp="UnetPlusPlus"),
    Architecture("manet", "MA-Net (Fan et al. 2020)", "smp or timm", ("...",), _LIGHT, smp="MAnet"),
    Architecture("linknet", "LinkNet (Chaurasia & Culurciello 2017)", "smp or timm", ("...",),
                 _LIGHT, smp="Linknet"),
    Architecture("fpn", "FPN (Kirillov et al. 2019)", "smp or timm",
                 ("decoder_pyramid_channels", "..."), _LIGHT, smp="FPN"),
    Architecture("pspnet", "PSPNet (Zhao et al. 2017)", "smp or timm",
                 ("encoder_depth", "psp_out_channels", "..."), _LIGHT, 8, smp="PSPNet"),
    Architecture("deeplabv3", "DeepLabV3 (Chen et al. 2017)", "smp or timm",
                 ("encoder_output_stride", "decoder_atrous_rates", "..."), _LIGHT, 8,
                 smp="DeepLabV3"),
    Architecture("deeplabv3plus", "DeepLabV3+ (Chen et al. 2018)", "smp or timm",
                 ("encoder_output_stride", "decoder_atrous_rates", "..."), _LIGHT, 16,
                 smp="DeepLabV3Plus"),
    Architecture("upernet", "UPerNet (Xiao et al. 2018)", "smp or timm",
                 ("decoder_channels", "..."), _LIGHT, smp="UPerNet"),
    Architecture("segformer", "SegFormer (Xie et al. 2021)", "smp or timm",
                 ("decoder_segmentation_channels", "..."), "mit_b0", smp="Segformer"),
    Architecture("dpt", "DPT (Ranftl et al. 2021)", "timm ViT",
                 ("decoder_fusion_channels", "..."), "vit_tiny_patch16_224", smp="DPT"),
    Architecture("mask2former", "Mask2Former, semantic (Cheng et al. 2022), over a small Swin",
                 "none", ("width", "depths", "queries", "features"), extra="transformers"),
    Architecture("lraspp", "Lite R-ASPP of MobileNetV3 (Howard et al. 2019)", "timm",
                 ("inter_channels",), "mobilenetv3_small_100", 16),
    Architecture("fast-scnn", "Fast-SCNN (Poudel et al. 2019)", "none"),
    Architecture("transformers", "any SegFormer, UPerNet, DPT, BEiT, MobileViT or Mask2Former by its "
                 "configuration in transformers", "none", ("config",), extra="transformers"),
)  # fmt: skip

ARCHITECTURES: Final = {entry.name: entry for entry in _ZOO}
"""All of them by name, in the order in which they are shown."""
