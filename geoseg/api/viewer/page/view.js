// The page: what is shown, filtered and clicked.

import { $, ask, classRow, element, later, number, ticked, trouble } from "./api.js";
import { Maps } from "./maps.js";
import { Review } from "./review.js";

const RAMP = "linear-gradient(90deg, #440154, #3b528b, #21918c, #5ec962, #fde725)";

const catalog = await ask("catalog.json");
const rasters = new Map();
const layers = new Map();
for (const product of catalog.products) {
  for (const raster of product.rasters) rasters.set(raster.id, { ...raster, product });
  for (const layer of product.polygons) layers.set(layer.id, { ...layer, product });
}
const named = ({ day, name }) => (!day || name.includes(day) ? name : `${day} · ${name}`);

function fill(select, kind, none) {
  if (none) select.append(element("option", none, { value: "" }));
  for (const product of catalog.products) {
    if (!product[kind].length) continue;
    const group = element("optgroup", "", { label: named(product) });
    for (const one of product[kind]) {
      const text = `${one.title} · ${product.day || product.name}`;
      group.append(element("option", text, { value: one.id }));
    }
    select.append(group);
  }
}
fill($("left"), "rasters", "nothing");
fill($("right"), "rasters", "nothing");
fill($("polygons"), "polygons", "none");

const extents = [...rasters.values(), ...layers.values()].map((one) => one.extent);
const whole = [0, 1, 2, 3].map((side) =>
  Math[side < 2 ? "min" : "max"](...extents.map((extent) => extent[side])),
);
const maps = new Maps(whole);
const review = new Review({ reviewer: catalog.reviewer, choose: chooseNow, filters, changed: load });
await maps.ready();

function rasterQuery(side) {
  const box = $("legend").querySelector(`[data-side=${side}]`);
  if (!box) return {};
  if (box.dataset.kind === "percent") return { least: box.querySelector("input").value };
  const codes = ticked(box);
  return codes === null ? {} : { classes: codes };
}

function legendOf(side, raster) {
  const box = element("fieldset", "", { "data-side": side, "data-kind": raster.kind });
  box.append(element("legend", `${raster.title} · ${named(raster.product)}`));
  const changed = () => maps.showRaster(side, raster, rasterQuery(side));
  for (const entry of raster.classes) box.append(classRow(entry, "", true, changed));
  if (raster.kind === "percent") {
    const ramp = element("span", "", { class: "ramp" });
    ramp.style.background = RAMP;
    const ends = element("span", "", { class: "ends" });
    ends.append(element("span", "0 %"), element("span", "100 %"));
    const least = element("label", "Show from (%) ");
    const input = element("input", "", { type: "number", min: 0, max: 100, value: 0 });
    input.addEventListener("change", changed);
    least.append(input);
    box.append(ramp, ends, least);
  }
  return box;
}

async function showRasters() {
  const left = rasters.get($("left").value);
  const right = rasters.get($("right").value);
  const same = left && right && left.id === right.id;
  $("legend").replaceChildren();
  if (left) $("legend").append(legendOf("left", left));
  if (right && !same) $("legend").append(legendOf("right", right));
  maps.showRaster("left", left);
  await maps.showRight(right);
  for (const [side, raster] of [["left", left], ["right", right]]) {
    $(`${side}-name`).textContent = raster ? `${raster.title} · ${named(raster.product)}` : "";
    $(`${side}-name`).hidden = !right || !raster;
  }
}

function filters() {
  const asked = {};
  const codes = ticked($("classes"));
  if (codes !== null) asked.classes = codes;
  for (const key of ["area", "confidence"]) if (Number($(key).value) > 0) asked[key] = $(key).value;
  for (const key of ["first", "last"]) if ($(key).value) asked[key] = $(key).value;
  const verdicts = $("verdicts").value;
  if (verdicts) asked.verdicts = verdicts === "-" ? ",open" : verdicts;
  return asked;
}

let asked = 0;
async function load() {
  const layer = layers.get($("polygons").value);
  if (!layer) return maps.showPolygons(null, []);
  const turn = ++asked;
  const query = { ...filters(), box: maps.box.join(","), pixel: maps.pixel };
  try {
    const found = await ask(`polygons/${layer.id}`, query);
    if (turn !== asked) return; // a later request is on its way
    maps.showPolygons(found, layer.classes);
    tellCount(found.told, layer);
  } catch (error) {
    trouble(error.message);
  }
}

function tellCount(told, layer) {
  const area = told.hectares === null ? "" : `, ${number(told.hectares)} ha`;
  const largest = told.sent < told.count ? `; the ${number(told.sent)} largest are drawn` : "";
  $("count").textContent =
    `${number(told.count)} of ${number(layer.count)} polygons match in view${area}${largest}`;
}

function showLayer() {
  const layer = layers.get($("polygons").value);
  $("filters").hidden = !layer;
  choose(null);
  review.open(layer);
  if (layer) {
    const box = $("classes");
    box.replaceChildren(element("legend", "Classes"));
    for (const entry of layer.classes) box.append(classRow(entry, number(entry.count), true, filtered));
    box.hidden = !layer.classes.length;
    for (const key of ["area", "confidence"]) {
      $(key).value = 0;
      $(`${key}-label`).hidden = !layer.span[key];
    }
    $("dates").hidden = !layer.span.date;
    const [first, last] = layer.span.date ?? ["", ""];
    for (const key of ["first", "last"]) {
      $(key).value = "";
      $(key).min = String(first).slice(0, 10);
      $(key).max = String(last).slice(0, 10);
    }
    $("verdicts").value = "";
  }
  return load();
}

// Show a polygon, or none, once all that was asked for before is done.
function choose(key) {
  return review.inTurn(() => chooseNow(key));
}

async function chooseNow(key, { go = false } = {}) {
  maps.choose(key);
  const layer = layers.get($("polygons").value);
  $("evidence").hidden = key === null;
  $("facts").hidden = true;
  $("here").replaceChildren();
  if (key === null || !layer) return review.show(null);
  try {
    const found = await ask(`polygon/${layer.id}/${key}`);
    if (go && found.box) maps.goTo(found.box);
    $("h-evidence").textContent = found.class ? `Evidence: ${found.class}` : "Evidence";
    const rows = found.rows.map((fact) => {
      const row = element("tr");
      const value = fact.unit ? `${number(fact.value)} ${fact.unit}` : number(fact.value);
      row.append(element("th", fact.title, { scope: "row", title: fact.what }), element("td", value));
      return row;
    });
    $("facts").tBodies[0].replaceChildren(...rows);
    $("facts").hidden = false;
    review.show(found);
    $("panel").scrollTop = $("review").offsetTop;
  } catch (error) {
    trouble(error.message);
  }
}

async function clicked(event, map) {
  const key = $("polygons").value ? maps.polygonAt(event, map) : undefined;
  await choose(key ?? null);
  if (key === undefined) $("h-evidence").textContent = "At this place";
  try {
    const said = await ask("point.json", { lon: event.lngLat.lng, lat: event.lngLat.lat });
    const lines = said.map((one) =>
      element("p", `${one.day || one.product} · ${one.title}: ${one.value}`),
    );
    $("here").replaceChildren(...lines);
    $("evidence").hidden = key === undefined && !said.length;
  } catch (error) {
    trouble(error.message);
  }
}

const filtered = later(150, () => {
  review.refresh();
  return load();
});
for (const id of ["left", "right"]) $(id).addEventListener("change", showRasters);
$("opacity").addEventListener("input", () => maps.setOpacity());
$("fill").addEventListener("input", () => maps.setFill());
$("polygons").addEventListener("change", showLayer);
for (const id of ["area", "confidence", "first", "last", "verdicts"]) {
  $(id).addEventListener("change", filtered);
}
$("fold").addEventListener("click", () => {
  const folded = $("panel").classList.toggle("folded");
  $("fold").textContent = folded ? "Show" : "Hide";
  $("fold").setAttribute("aria-expanded", String(!folded));
});
maps.onClick(clicked);
maps.onMove(later(120, load));

const first = [...rasters.values()].find((one) => one.kind === "classes");
if (first) $("left").value = first.id;
if (layers.size) $("polygons").value = layers.keys().next().value;
await showRasters();
await showLayer();
window.view = { maps, choose, ready: true };
