// Reviews: one polygon after the other, keyboard first.

import { $, ask, element, number, tell, trouble } from "./api.js";

const KEYS = { j: "next", k: "previous", a: "accept", r: "reject", u: "undo", l: "label", n: "note" };
const SAID = { accepted: "accepted", rejected: "rejected", relabelled: "relabelled", open: "taken back" };

export class Review {
  constructor({ reviewer, choose, filters, changed }) {
    Object.assign(this, { choose, filters, changed });
    this.layer = null;
    this.found = null;
    this.queue = [];
    this.turn = Promise.resolve();
    const actions = {
      next: () => this.step(1),
      previous: () => this.step(-1),
      accept: () => this.say("accepted"),
      reject: () => this.say("rejected"),
      undo: () => this.say("open"),
    };
    for (const [id, action] of Object.entries(actions)) {
      $(id).addEventListener("click", () => this.inTurn(action));
    }
    $("reviewer").value = sessionStorage.getItem("reviewer") ?? reviewer;
    $("reviewer").addEventListener("change", () =>
      sessionStorage.setItem("reviewer", $("reviewer").value),
    );
    // Not on change: arrow keys would save each class on the way.
    $("relabel").addEventListener("click", () => this.relabel($("label").value));
    $("label").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      $("label").blur();
      this.relabel($("label").value);
    });
    $("note").addEventListener("change", () => {
      const { found } = this;
      const note = $("note").value;
      this.inTurn(() => this.found === found && this.note(note));
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  // One after the other, however fast keys are pressed: "next, accept" accepts the next one.
  inTurn(action) {
    this.turn = this.turn.then(action).catch((error) => trouble(error.message));
    return this.turn;
  }

  // Review the polygons of a layer; null of none.
  open(layer) {
    this.layer = layer ?? null;
    $("review").hidden = !layer;
    if (!layer) return undefined;
    $("labels").href = `labels/${layer.id}`;
    const options = layer.labels.map((name, at) =>
      element("option", at < 9 ? `${at + 1} ${name}` : name, { value: name }),
    );
    $("label").replaceChildren(element("option", "choose…", { value: "" }), ...options);
    return this.refresh();
  }

  // Ask anew which polygons there are to go through.
  async refresh() {
    if (!this.layer) return;
    try {
      this.queue = await ask(`list/${this.layer.id}`, this.filters());
      this.#tellProgress();
    } catch (error) {
      trouble(error.message);
    }
  }

  // Show what was said of a polygon; null of none.
  show(found) {
    this.found = found;
    $("verdict-form").hidden = !found;
    $("conflict").hidden = true;
    if (!found) return this.#tellProgress();
    const last = found.reviews.at(-1);
    this.seen = last?.version ?? 0;
    const verdict = last && last.verdict !== "open" ? last.verdict : "";
    $("standing").textContent = last ? this.#sentence(last) : "Not reviewed yet.";
    $("accept").setAttribute("aria-pressed", String(verdict === "accepted"));
    $("reject").setAttribute("aria-pressed", String(verdict === "rejected"));
    $("label").value = last?.label ?? "";
    $("note").value = last?.note ?? "";
    $("history").replaceChildren(...found.reviews.map((one) => element("li", this.#sentence(one))));
    return this.#tellProgress();
  }

  step(by) {
    if (!this.queue.length) return undefined;
    const at = this.found ? this.queue.indexOf(this.found.key) : -1;
    const next = at < 0 ? (by > 0 ? 0 : this.queue.length - 1) : at + by;
    const key = this.queue[Math.min(this.queue.length - 1, Math.max(0, next))];
    return this.choose(key, { go: true });
  }

  relabel(label) {
    if (label) this.inTurn(() => this.say("relabelled", { label }));
  }

  // A note alone is a review, too: it leaves the verdict as it is.
  note(note) {
    const last = this.found?.reviews.at(-1);
    if (!this.found || note === (last?.note ?? "")) return undefined;
    return this.say(last?.verdict ?? "open", { note, label: last?.label ?? "" });
  }

  async say(verdict, { label = "", note = $("note").value, seen = this.seen } = {}) {
    const { found, layer } = this;
    if (!found) return;
    const reviewer = $("reviewer").value;
    const said = await tell(`reviews/${layer.id}`, { id: found.id, seen, verdict, label, note, reviewer });
    if (said.conflict) {
      this.#conflict(said.conflict, { verdict, label, note });
    } else {
      found.reviews.push(said.review);
      this.show(found);
      this.changed();
    }
  }

  // Somebody else was faster: whose word stands is for people to say.
  #conflict(theirs, mine) {
    const { found } = this;
    const box = $("conflict");
    const keep = element("button", "Keep theirs", { type: "button" });
    const instead = element("button", `Save mine: ${SAID[mine.verdict]}`, { type: "button" });
    keep.addEventListener("click", () => this.inTurn(() => this.choose(found.key)));
    instead.addEventListener("click", () =>
      this.inTurn(() => {
        if (this.found !== found) return undefined;
        found.reviews.push(theirs);
        return this.say(mine.verdict, { ...mine, seen: theirs.version });
      }),
    );
    box.replaceChildren(element("p", `Not saved. Meanwhile: ${this.#sentence(theirs)}`), keep, instead);
    box.hidden = false;
    keep.focus();
  }

  #sentence(said) {
    const as = said.label ? ` as ${said.label}` : "";
    const note = said.note ? ` “${said.note}”` : "";
    return `${SAID[said.verdict]}${as} by ${said.reviewer}, ${said.at.slice(0, 16).replace("T", " ")} UTC${note}`;
  }

  #tellProgress() {
    const at = this.found ? this.queue.indexOf(this.found.key) : -1;
    const here = at < 0 ? "" : `${number(at + 1)} of `;
    $("progress").textContent = `${here}${number(this.queue.length)} polygons, the largest first`;
  }

  #key(event) {
    const inside = event.target.closest("input:not([type=checkbox], [type=range]), textarea, select");
    if (event.key === "Escape" && inside) return inside.blur();
    if (inside || !this.layer || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    if (/^[1-9]$/.test(event.key)) return this.relabel(this.layer.labels[Number(event.key) - 1]);
    const id = KEYS[event.key.toLowerCase()];
    if (!id) return undefined;
    event.preventDefault();
    if (["label", "note"].includes(id)) return this.inTurn(() => $(id).focus());
    return $(id).click();
  }
}
