// Values that a person may set: those that a script offers, and the controls of a camera.

import { make } from "./format.js";

/** A table with the range and the present value of each, and what sets it. */
export class Values {
  #all = new Map(); // name → its present value as text, and its elements
  #changes;
  #seen; // the newest change that was looked at

  /**
   * @param controls what the module offers: name, value, and minimum, maximum, step, unit, choices
   * @param known name → what it was set to since
   * @param changes stream of a camera with what it has made of each change
   * @param set sends "NAME=VALUE"
   */
  constructor(controls, known, changes, set) {
    this.#changes = changes;
    const rows = controls.map((each) => this.#row(each, `${known[each.name] ?? each.value}`, set));
    const titles = ["value", "now", "from – to", ""].map((title) => make("th", { scope: "col", class: title === "now" ? "right" : "" }, title));
    this.body = make("div", { class: "values" }, make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows)));
  }

  #row({ name, value, minimum, maximum, step, unit = "", choices }, present, set) {
    const options = choices ?? (typeof value === "boolean" ? ["true", "false"] : null);
    const label = `new value of ${name}`;
    const input = options
      ? make("select", { "aria-label": label }, ...options.map((each) => make("option", { value: each }, each)))
      : make("input", { "aria-label": label, type: "number", min: minimum, max: maximum, step: step ?? "any", required: true });
    input.value = present;
    const send = () => input.reportValidity() && set(`${name}=${input.value}`);
    input.addEventListener("keydown", ({ key }) => key === "Enter" && send());
    const now = make("td", { class: "right" }), range = options ? "" : `${minimum} – ${maximum}`;
    this.#all.set(name, { unit, now, input });
    this.#show(name, present);
    return make("tr", {}, make("th", { scope: "row" }, name), now, make("td", {}, range), make("td", { class: "actions" }, input,
      make("button", { type: "button", "aria-label": `set ${name}`, onclick: send }, "Set")));
  }

  #show(name, text) {
    const { unit, now, input } = this.#all.get(name);
    now.textContent = unit && !text.endsWith(unit) ? `${text} ${unit}` : text;
    if (document.activeElement !== input) input.value = unit ? text.replace(` ${unit}`, "") : text;
  }

  /** Takes what became of a command; of a camera its own answer counts. */
  note({ act, refused }) {
    const [, name, text] = act.text?.match(/^([^=]*)=(.*)$/) ?? [];
    if (refused || this.#changes || !this.#all.has(name?.trim())) return;
    this.#show(name.trim(), text.trim());
  }

  update() {
    const rows = this.#changes?.rows ?? [], newest = rows.at(-1);
    if (newest === this.#seen) return;
    for (const { cells: [, name, , got] } of rows.slice(rows.lastIndexOf(this.#seen) + 1)) if (this.#all.has(name)) this.#show(name, got);
    this.#seen = newest;
  }
}
