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
    $("reviewer").value = sessionStorage.getItem("reviewer") ?? reviewer;
    $("reviewer").addEventListener("change", () =>
      sessionStorage.setItem("reviewer", $("reviewer").value),
    );
    $("next").addEventListener("click", () => this.step(1));
    $("previous").addEventListener("click", () => this.step(-1));
    $("accept").addEventListener("click", () => this.say("accepted"));
    $("reject").addEventListener("click", () => this.say("rejected"));
    $("undo").addEventListener("click", () => this.say("open"));
    $("label").addEventListener("change", () => $("label").value && this.say("relabelled"));
    $("note").addEventListener("change", () => this.note());
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  // Review the polygons of a layer; null of none.
  open(layer) {
    this.layer = layer ?? null;
    $("review").hidden = !layer;
    if (!layer) return undefined;
    $("labels").href = `labels/${layer.id}`;
    const options = layer.labels.map((name) => element("option", name, { value: name }));
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
    $("undo").disabled = !verdict;
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

  // A note alone is a review, too: it leaves the verdict as it is.
  note() {
    const last = this.found?.reviews.at(-1);
    if (this.found && $("note").value !== (last?.note ?? "")) this.say(last?.verdict ?? "open");
  }

  async say(verdict, seen = this.seen) {
    const { found, layer } = this;
    if (!found || this.saving) return;
    const label = verdict === "relabelled" ? $("label").value : "";
    const note = $("note").value;
    const reviewer = $("reviewer").value;
    this.saving = true;
    try {
      const said = await tell(`reviews/${layer.id}`, { id: found.id, seen, verdict, label, note, reviewer });
      if (this.found !== found) return;
      if (said.conflict) return this.#conflict(said.conflict, { verdict, label, note });
      found.reviews.push(said.review);
      this.show(found);
      this.changed();
    } catch (error) {
      trouble(error.message);
    } finally {
      this.saving = false;
    }
  }

  // Somebody else was faster: whose word stands is for people to say.
  #conflict(theirs, mine) {
    const box = $("conflict");
    const keep = element("button", "Keep theirs", { type: "button" });
    const mineInstead = element("button", `Save mine: ${SAID[mine.verdict]}`, { type: "button" });
    keep.addEventListener("click", () => this.choose(this.found.key));
    mineInstead.addEventListener("click", () => {
      $("label").value = mine.label;
      $("note").value = mine.note;
      box.hidden = true;
      this.found.reviews.push(theirs);
      this.say(mine.verdict, theirs.version);
    });
    box.replaceChildren(
      element("p", `Not saved. Meanwhile: ${this.#sentence(theirs)}`), keep, mineInstead,
    );
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
    const id = KEYS[event.key.toLowerCase()];
    if (!id || inside || !this.layer || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    if (!["next", "previous"].includes(id) && !this.found) return undefined;
    event.preventDefault();
    if (["label", "note"].includes(id)) return $(id).focus();
    return $(id).click();
  }
}
