"""Class rasters as others make them, with names and colours in all the ways there are."""

from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio
from polygon_reference import realistic

PALETTE = {0: (0, 0, 0), 1: (26, 91, 171), 2: (53, 130, 33), 3: (0, 0, 0), 5: (237, 2, 42)}
NAMES = ["", "Water", "Trees", "Shade", "", "Built"]
TABLE = """
<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">
<FieldDefn index="0"><Name>Code</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<FieldDefn index="1"><Name>Name</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
<FieldDefn index="2"><Name>R</Name><Type>0</Type><Usage>6</Usage></FieldDefn>
<FieldDefn index="3"><Name>G</Name><Type>0</Type><Usage>7</Usage></FieldDefn>
<FieldDefn index="4"><Name>B</Name><Type>0</Type><Usage>8</Usage></FieldDefn>
<Row index="0"><F>1</F><F>Lake</F><F>1</F><F>2</F><F>3</F></Row>
<Row index="1"><F>2</F><F>Wald &amp; Wiese</F><F>4</F><F>5</F><F>6</F></Row>
<Row index="2"><F>9</F><F>Moon</F><F>7</F><F>8</F><F>9</F></Row>
</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>
"""


def codes(shape=(130, 170), seed=0):
    """Classes 1, 2, 3 and 5, and 0 in one corner."""
    made = realistic(shape, classes=4, seed=seed)
    made[made == 4] = 5
    return made


def paint(path, palette=PALETTE):
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, palette)


def name(path, names):
    """As GDAL writes category names."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    list_ = ET.SubElement(band, "CategoryNames")
    for text in names:
        ET.SubElement(list_, "Category").text = text
    Path(f"{path}.aux.xml").write_bytes(ET.tostring(root))
