"""Files that no program would write: TIFF headers by hand, and VRTs that point anywhere."""

import struct

HEADER = 16


def tiff(width: int, height: int, **said: int) -> bytes:
    """A TIFF of one directory that says what it is told to, and has no pixels to speak of.

    ``bits``, ``compression``, ``bands``, ``rows`` (of a strip), ``tile`` (its side) and ``next``
    (where the next directory is said to be).
    """
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, said.get("bits", 16)),
        (259, 3, 1, said.get("compression", 1)),
        (262, 3, 1, 1),
        (277, 3, 1, said.get("bands", 1)),
        (284, 3, 1, 1),
    ]
    if "tile" in said:
        side = said["tile"]
        entries += [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, 4)]
    else:
        entries += [(273, 4, 1, 8), (278, 4, 1, said.get("rows", height)), (279, 4, 1, 4)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    start = struct.pack("<2sHI", b"II", 42, HEADER) + bytes(8)
    count, after = struct.pack("<H", len(entries)), struct.pack("<I", said.get("next", 0))
    return start + count + table + after


def source(name: str, *, relative: int = 1) -> str:
    """A band of a VRT that is a band of another file."""
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>@</SourceBand></SimpleSource>"
    )


def vrt(body: str, *, bands: int = 6, side: int = 64, kind: str = "") -> str:
    """A VRT whose bands all hold ``body``, with ``@`` for the number of the band."""
    sub = f' subClass="{kind}"' if kind else ""
    inner = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n}"{sub}>{body.replace("@", str(n))}'
        f"</VRTRasterBand>"
        for n in range(1, bands + 1)
    )
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32629</SRS>'
        f"<GeoTransform>500000,10,0,5900000,0,-10</GeoTransform>{inner}</VRTDataset>"
    )


def entity_bomb(root: str, levels: int = 9) -> str:
    """XML that would grow tenfold a level (billion laughs)."""
    declared = ['<!ENTITY e0 "aaaaaaaaaa">']
    declared += [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, levels)]
    return f"<!DOCTYPE {root} [{''.join(declared)}]><{root}>&e{levels - 1};</{root}>"
