"""How scenes of catalogs and public archives are printed for people, on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console


def _console() -> Console:
    # Paths and names stay whole: they are copied from here.
    return Console(soft_wrap=True, highlight=False)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """One line for each item, and how many there are."""
    width = max((len(row["id"]) for row in rows), default=0)
    lines = [
        f"{(row['datetime'] or 'no date')[:16]:<16}  {_clouds(row):>5}  {row['id']:<{width}}  "
        f"{row['collection'] or ''}".rstrip()
        for row in rows
    ]
    lines.append(f"{len(rows)} items")
    _console().print("\n".join(lines), markup=False)


def _clouds(row: Mapping[str, Any]) -> str:
    cloud = row["cloud_cover"]
    return "" if cloud is None else f"{cloud:.0f} %"


def show_item(item: Mapping[str, Any]) -> None:
    """What a model would read of an item."""
    lines = [f"{item['id']} ({item['collection'] or 'no collection'})"]
    lines.append(f"  acquired  {item['datetime'] or 'not said'}")
    if item["cloud_cover"] is not None:
        lines.append(f"  clouds    {item['cloud_cover']:g} %")
    if "problem" in item:
        lines.append(f"  problem   {item['problem']}")
    else:
        rows, columns = item["shape"]
        lines.append(f"  grid      {rows} x {columns} px in {item['crs'] or 'no CRS'}")
        lines.append(f"  numbers   {item['units'] or 'units not said'}")
    for name, band in item["bands"].items():
        lines.append(f"  {name:<10}{_band(band)}{band['href']}")
    hides = f", {item['mask']} hides by itself" if item["mask"] else ""
    lines.append(f"  masks     {', '.join(item['masks']) or 'none'}{hides}")
    _console().print("\n".join(lines), markup=False)


def _band(band: Mapping[str, Any]) -> str:
    if "dtype" not in band:
        return ""
    nodata = "" if band["nodata"] is None else f", nodata {band['nodata']:g}"
    return (
        f"{band['pixel']:g} {band['unit']}, {band['dtype']} * {band['scale']:g} + "
        f"{band['offset']:g}{nodata}; "
        f"band {band['index']} of "
    )


def show_archive(archive: Mapping[str, Any], *, whole: bool) -> None:
    """An archive: its collections, and what access to its files takes."""
    lines = [f"{archive['name']}: {archive['title']}", f"  {archive['url']}"]
    for key, collection in archive["collections"].items():
        lines.append(f"  {key}: {collection['title']}")
        if whole:
            lines.append(f"    bands {', '.join(collection['bands'])}")
            lines.append(f"    mask  {collection['mask'] or 'none'}")
    needs = " or ".join(" and ".join(names) for names in archive["needs"])
    if needs:
        lines.append(f"  needs {needs}")
    if whole:
        lines += [f"  set   {name}={value}" for name, value in archive["settings"].items()]
        lines += [f"  {archive['note']}", f"  {archive['about']}"]
    _console().print("\n".join(lines), markup=False)
