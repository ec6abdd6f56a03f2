"""Sentinel-2 L1C products, made small."""

from pathlib import Path

import numpy as np
from affine import Affine
from rasters import NORTH_UP, write

L1C_NAME = "S2B_MSIL1C_20230611T105629_N0509_R094_T31UFS_20230611T125810.SAFE"
L1C_TEXT = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd"><n1:General_Info>
<PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>
<DATATAKE_SENSING_START>2023-06-11T10:56:29.024Z</DATATAKE_SENSING_START>
<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
<RADIO_ADD_OFFSET band_id="1">-1000</RADIO_ADD_OFFSET>
<RADIO_ADD_OFFSET band_id="11">-1000</RADIO_ADD_OFFSET>
</n1:General_Info></n1:Level-1C_User_Product>"""


def level_1c(root: Path, *, bands=None, text=L1C_TEXT, classi=True) -> Path:
    granule = root / "GRANULE" / "L1C_T31UFS_A032712_20230611T105630"
    options = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
    for code, metres in (bands or {"B02": 10, "B11": 20}).items():
        side = 360 // metres
        path = granule / "IMG_DATA" / f"T31UFS_20230611T105629_{code}.jp2"
        values = np.full((side, side), 2500, np.uint16)
        write(path, values, transform=NORTH_UP @ Affine.scale(metres / 10), **options)
    if classi:
        values = np.zeros((3, 6, 6), np.uint8)
        values[0, 0, 0] = values[1, 2, 2] = values[2, 5, 5] = 1
        path = granule / "QI_DATA" / "MSK_CLASSI_B00.jp2"
        write(path, values, transform=NORTH_UP @ Affine.scale(6), **options)
    (root / "MTD_MSIL1C.xml").write_text(text)
    return root
