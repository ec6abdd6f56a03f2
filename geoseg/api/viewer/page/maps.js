// Two maps that move as one, with a raster on each and the same polygons on both.

import { $ } from "./api.js";
import { Map as GlMap, NavigationControl, ScaleControl } from "./maplibre/maplibre-gl.mjs";

const MANY = 1500;
const EMPTY = { type: "FeatureCollection", features: [] };
// A polygon with very many holes comes in parts to fill, and as lines to draw.
// Lines would be filled, too, as if they were rings.
const FILLED = ["!=", ["get", "only"], "line"];
const LINED = ["!=", ["get", "only"], "fill"];
const chosenIs = (key) => ["all", ["==", ["id"], key], LINED];
const dark = matchMedia("(prefers-color-scheme: dark)");
const ground = () => (dark.matches ? "#121416" : "#eef0f2");

function style() {
  return {
    version: 8,
    // The server has left out what is finer than a pixel; doing so once more makes rings cross.
    sources: { polygons: { type: "geojson", data: EMPTY, tolerance: 0 } },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": ground() } },
      {
        id: "polygons", type: "fill", source: "polygons", filter: FILLED,
        paint: { "fill-color": "#888888", "fill-opacity": 0.35, "fill-antialias": false },
      },
      {
        id: "outlines", type: "line", source: "polygons", filter: LINED,
        paint: {
          "line-color": [
            "match", ["get", "verdict"], "accepted", "#00a651", "rejected", "#d1495b",
            "relabelled", "#1f7ae0", "#222222",
          ],
          "line-width": ["match", ["get", "verdict"], ["accepted", "rejected", "relabelled"], 2.2, 0.8],
        },
      },
      {
        id: "halo", type: "line", source: "polygons", filter: chosenIs(-1),
        paint: { "line-color": "#ffffff", "line-width": 6 },
      },
      {
        id: "chosen", type: "line", source: "polygons", filter: chosenIs(-1),
        paint: { "line-color": "#e6007e", "line-width": 3 },
      },
    ],
  };
}

export class Maps {
  constructor(extent) {
    this.extent = extent;
    this.left = this.#made("left-map", { bounds: extent });
    this.right = null;
    this.shown = { left: null, right: null };
    this.left.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.left.addControl(new ScaleControl(), "bottom-left");
    dark.addEventListener("change", () => {
      for (const map of this.all) map.setPaintProperty("ground", "background-color", ground());
    });
    $("swipe").addEventListener("input", () => this.#cut());
  }

  get all() {
    return this.right ? [this.left, this.right] : [this.left];
  }

  ready() {
    return this.left.loaded() ? Promise.resolve() : new Promise((done) => this.left.once("load", done));
  }

  // Called with the place of a click on either map.
  onClick(action) {
    this.clicked = action;
    this.left.on("click", (event) => action(event, this.left));
  }

  onMove(action) {
    this.left.on("moveend", action);
  }

  async showRight(raster, query) {
    if (!raster) {
      this.right?.remove();
      this.right = null;
      for (const id of ["right-map", "swipe"]) $(id).hidden = true;
      this.shown.right = null;
      return;
    }
    if (!this.right) {
      for (const id of ["right-map", "swipe"]) $(id).hidden = false;
      const { center, zoom, bearing, pitch } = this.#view(this.left);
      this.right = this.#made("right-map", { center, zoom, bearing, pitch });
      await new Promise((done) => this.right.once("load", done));
      this.right.on("click", (event) => this.clicked?.(event, this.right));
      this.#tie(this.left, this.right);
      this.#tie(this.right, this.left);
      this.#cut();
      this.#copy();
    }
    this.showRaster("right", raster, query);
  }

  showRaster(side, raster, query = {}) {
    const map = this[side];
    if (map.getLayer("raster")) map.removeLayer("raster");
    if (map.getSource("raster")) map.removeSource("raster");
    this.shown[side] = raster;
    if (!raster) return;
    const asked = new URLSearchParams(query).toString();
    map.addSource("raster", {
      type: "raster",
      tiles: [`${new URL("tiles/", document.baseURI).href}${raster.id}/{z}/{x}/{y}?${asked}`],
      tileSize: 512,
      bounds: bounded(raster.extent),
      maxzoom: raster.deepest,
    });
    const sharp = raster.kind === "image" ? "linear" : "nearest";
    const paint = { "raster-resampling": sharp, "raster-fade-duration": 0 };
    map.addLayer({ id: "raster", type: "raster", source: "raster", paint }, "polygons");
    this.setOpacity();
  }

  setOpacity() {
    const value = Number($("opacity").value) / 100;
    for (const map of this.all) {
      if (map.getLayer("raster")) map.setPaintProperty("raster", "raster-opacity", value);
    }
  }

  showPolygons(data, classes) {
    this.polygons = data ?? EMPTY;
    const colors = classes.flatMap((entry) => [entry.value, entry.color]);
    // Of very many polygons outlines hide what they are of.
    this.faint = this.polygons.features.length > MANY ? 0.25 : 1;
    this.color = colors.length ? ["match", ["get", "code"], ...colors, "#888888"] : "#888888";
    this.#copy();
  }

  setFill() {
    this.#copy();
  }

  choose(key) {
    this.chosen = key ?? -1;
    this.#copy({ data: false });
  }

  polygonAt(event, map) {
    return map.queryRenderedFeatures(event.point, { layers: ["polygons"] })[0]?.id;
  }

  goTo(box) {
    // As wide again on each side: what lies around a polygon is half of its evidence.
    const [west, south, east, north] = box;
    const [x, y] = [(east - west) / 2, (north - south) / 2];
    const around = [west - x, south - y, east + x, north + y];
    const maxZoom = (this.shown.left?.deepest ?? 17) - 1;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.left.fitBounds(around, { padding: 20, maxZoom, animate: !still, duration: 500 });
  }

  get box() {
    const bounds = this.left.getBounds();
    return [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  }

  // Degrees that a pixel of the screen is high.
  get pixel() {
    const [, south, , north] = this.box;
    return (north - south) / Math.max(1, this.left.getContainer().clientHeight);
  }

  #made(container, options) {
    return new GlMap({
      container, style: style(), attributionControl: false, fitBoundsOptions: { padding: 24 },
      dragRotate: false, pitchWithRotate: false, renderWorldCopies: false, ...options,
    });
  }

  #view(map) {
    return {
      center: map.getCenter(), zoom: map.getZoom(), bearing: map.getBearing(), pitch: map.getPitch(),
    };
  }

  #tie(from, to) {
    from.on("move", () => {
      if (this.following) return;
      this.following = true;
      to.jumpTo(this.#view(from));
      this.following = false;
    });
  }

  #cut() {
    const share = Number($("swipe").value) / 10;
    // The thumb stays within the map: its middle runs from half its width to the other end's.
    $("right-map").style.clipPath = `inset(0 0 0 calc(22px + (100% - 44px) * ${share / 100}))`;
    $("swipe").setAttribute("aria-valuetext", `${Math.round(share)} % left layer`);
  }

  #copy({ data = true } = {}) {
    for (const map of this.all) {
      if (!map.getSource("polygons")) continue;
      if (data) map.getSource("polygons").setData(this.polygons ?? EMPTY);
      map.setPaintProperty("polygons", "fill-color", this.color ?? "#888888");
      const strong = ["case", ["==", ["get", "verdict"], ""], this.faint ?? 1, 1];
      map.setPaintProperty("outlines", "line-opacity", strong);
      // What is under the chosen polygon is to be seen.
      const fill = Number($("fill").value) / 100;
      const opacity = ["case", ["==", ["id"], this.chosen ?? -1], fill / 8, fill];
      map.setPaintProperty("polygons", "fill-opacity", opacity);
      for (const id of ["halo", "chosen"]) map.setFilter(id, chosenIs(this.chosen ?? -1));
    }
  }
}

// Bounds of sources are within the map, which ends at 85 degrees.
function bounded([west, south, east, north]) {
  return [Math.max(west, -180), Math.max(south, -85.0511), Math.min(east, 180), Math.min(north, 85.0511)];
}
