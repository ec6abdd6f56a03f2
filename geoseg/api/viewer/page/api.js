// Requests to the server, and small helpers of the page.

export const $ = (id) => document.getElementById(id);

export async function ask(path, query = {}) {
  const text = new URLSearchParams(query).toString();
  return answer(await fetch(text ? `${path}?${text}` : path));
}

export async function tell(path, value) {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(value) });
  return reply.status === 409 ? reply.json() : answer(reply);
}

async function answer(reply) {
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.message);
  trouble("");
  return said;
}

export function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

// An element with text and attributes; text is never taken for HTML.
export function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function number(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return value.toLocaleString("en", { maximumSignificantDigits: Math.abs(value) < 100 ? 3 : 6 });
}

// A row with a box to tick, a colour, a name and an amount.
export function classRow(entry, amount, ticked, changed) {
  const label = element("label", "", { class: "class" });
  const box = element("input", "", { type: "checkbox", value: entry.value });
  box.checked = ticked;
  box.addEventListener("change", changed);
  const swatch = element("span", "", { class: "swatch" });
  swatch.style.backgroundColor = entry.color;
  label.append(box, swatch, element("span", entry.name), element("span", amount, { class: "amount" }));
  return label;
}

// The ticked codes in a box of rows; null if all are.
export function ticked(box) {
  const boxes = [...box.querySelectorAll("input[type=checkbox]")];
  const on = boxes.filter((one) => one.checked).map((one) => one.value);
  return on.length === boxes.length ? null : on.join(",");
}

export function later(wait, action) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
}
