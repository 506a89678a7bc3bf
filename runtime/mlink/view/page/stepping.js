// Steps through a run in virtual time: pause, to a moment, to an edge; a look into simulated chips.

import { make } from "./format.js";

const labelled = (label, input) => make("label", {}, make("span", {}, label), input);
const seconds = (usec) => `${(usec / 1e6).toFixed(6)} s`;
const hex = (value, digits) => `0x${value.toString(16).padStart(digits, "0")}`;
const MORE_THAN_A_NUMBER = 16; // digits

/** Bytes given as hexadecimal text, in rows of 16. */
function dump(address, text) {
  const rows = text.match(/.{1,32}/g) ?? [];
  return make("pre", { tabindex: 0 }, rows.map((row, i) => `${hex(address + 16 * i, 4)}  ${row.match(/../g).join(" ")}`).join("\n"));
}

export class SteppingPanel {
  #box;
  #send;
  #isOwner = false;
  #stands = false;
  #where = make("p", { role: "status", "aria-live": "polite" });
  #note = make("p", { class: "note bad", role: "alert", hidden: true });
  #fields = make("fieldset", {});
  #pause = make("button", { type: "button", onclick: () => this.#step("pause") }, "Pause");
  #go = make("button", { type: "button", onclick: () => this.#step("go") }, "Go on");
  #chip = make("select", { name: "chip" });
  #pin = make("input", { name: "pin", type: "number", min: 0, max: 69, value: 13, required: true });
  #which = make("select", { name: "which" }, ...["any", "rising", "falling"].map((each) => make("option", {}, each)));
  #until = make("input", { name: "until", type: "number", min: 0, step: "any", value: 1, required: true });
  #for = make("input", { name: "for", type: "number", min: 0.001, step: "any", value: 1, required: true });
  #symbols = make("input", { name: "symbols", placeholder: "counter" });
  #elf = make("input", { name: "elf", placeholder: "firmware/lamp.elf" });
  #address = make("input", { name: "address", value: "0x100", pattern: "0[xX][0-9a-fA-F]+|[0-9]+" });
  #length = make("input", { name: "length", type: "number", min: 0, max: 4096, value: 0 });
  #inside = make("div", { class: "inside" });
  #look;

  /** @param send sends a request */
  constructor(box, send) {
    this.#box = box;
    this.#send = send;
    const form = (label, act, ...children) => {
      const made = make("form", { "aria-label": label }, ...children);
      made.addEventListener("submit", (event) => {
        event.preventDefault();
        act();
      });
      return made;
    };
    const button = (text) => make("button", { type: "submit" }, text);
    this.#look = form("look into a chip", () => this.#lookInto(),
      labelled("symbols", this.#symbols), labelled("ELF file, in the bench's folder", this.#elf),
      labelled("memory from", this.#address), labelled("bytes", this.#length), button("Look"));
    this.#chip.addEventListener("change", () => this.#lookInto());
    this.#fields.append(
      form("run until a time", () => this.#step("until", { time_usec: Math.round(Number(this.#until.value) * 1e6) }), labelled("until, s", this.#until), button("Run until")),
      form("run for a time", () => this.#step("for", { time_usec: Math.round(Number(this.#for.value) * 1e3) }), labelled("for, ms", this.#for), button("Run for")),
      form("run to an edge", () => this.#step("edge", { chip: this.#chip.value, pin: Number(this.#pin.value), which: this.#which.value, time_usec: 10_000_000 }),
        labelled("chip", this.#chip), labelled("pin", this.#pin), labelled("edge", this.#which), button("Next edge")));
    box.append(make("article", { class: "panel", "aria-label": "steps" },
      make("div", {}, make("h2", {}, "Steps in virtual time"), this.#pause, this.#go), this.#where, this.#note, this.#fields, this.#look, this.#inside));
  }

  /** Shows where the run stands; null where there is nothing to step through. */
  show(stood, role, running) {
    this.#box.hidden = !stood || !running;
    if (!stood) return;
    this.#isOwner = role === "owner";
    this.#stands = stood.stands;
    const chips = stood.chips ?? [];
    if (chips.join() !== [...this.#chip.options].map((each) => each.value).join())
      this.#chip.replaceChildren(...chips.map((each) => make("option", { value: each }, each)));
    this.#where.textContent = stood.stands ? `The run stands at ${seconds(stood.time_usec)}${stood.edge ? `: ${stood.edge}` : ""}` : "The run goes on";
    this.#note.textContent = [stood.error, stood.remedy && `→ ${stood.remedy}`].filter(Boolean).join(" ");
    this.#note.hidden = !stood.error;
    this.#enable(true);
    if (stood.stands && chips.length) this.#lookInto();
    else this.#inside.replaceChildren();
  }

  /** Shows what there is in a chip. */
  showChip({ chip, pins = [], registers = {}, symbols = [], address = 0, memory = "", error = "", remedy = "" }) {
    if (!this.#stands) return;
    const driver = ({ output, driven }) => (output ? "the chip" : driven ? "outside" : "nothing");
    const table = (label, titles, rows) => make("div", { class: "rows", tabindex: 0, role: "region", "aria-label": label },
      make("table", {}, make("thead", {}, make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)))), make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))))));
    const variables = symbols.flatMap(({ name, address: at, data }) => {
      const number = data.length <= MORE_THAN_A_NUMBER ? ` = ${BigInt(`0x${data.match(/../g)?.reverse().join("") || "0"}`)}` : "";
      return [make("p", {}, `${name}${number}`), dump(at, data)];
    });
    this.#inside.replaceChildren(
      ...(error ? [make("p", { class: "note bad", role: "alert" }, `${error} ${remedy && `→ ${remedy}`}`)] : []),
      ...variables, ...(memory ? [dump(address, memory)] : []),
      table(`pins of ${chip}`, ["pin", "level", "driven by"], pins.map((pin) => [`${pin.number}`, pin.level ? "high" : "low", driver(pin)])),
      table(`registers of ${chip}`, ["register", "value"], Object.entries(registers).map(([name, value]) => [name, `${hex(value, 2)} (${value})`])));
  }

  #step(act, more = {}) {
    this.#send({ kind: "step", act, ...more });
    this.#where.textContent = act === "go" ? "The run goes on" : "The run is on its way …";
    this.#enable(false);
  }

  #lookInto() {
    const symbols = this.#symbols.value.split(/[\s,]+/).filter(Boolean).slice(0, 32);
    const address = Number(this.#address.value) || 0;
    this.#send({ kind: "look", chip: this.#chip.value, elf: this.#elf.value.trim(), symbols, address, length: Number(this.#length.value) || 0 });
  }

  #enable(answered) {
    const may = answered && this.#isOwner;
    this.#fields.disabled = !may;
    this.#pause.disabled = !may || this.#stands;
    this.#go.disabled = !may || !this.#stands;
    this.#look.hidden = !this.#isOwner || !this.#stands || !this.#chip.options.length;
  }
}
