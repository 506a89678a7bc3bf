// Commands by hand: lines of boards, commands to modules, values, and what became of each.

import { duration, make } from "./format.js";
import { Values } from "./values.js";

const SHOWN = 50;
const LEVELS = [["High", "high"], ["Low", "low"], ["Pulse", "pulse"]];
const LINE_COMMANDS = ["high", "low", "pulse", "analog", "output", "input", "pull-up"];
const CONTROLS = ["start", "pause", "stop", "step"];
const OF_A_SCRIPT = ".@values"; // end of the target that takes its values

const labelled = (label, input) => make("label", {}, make("span", {}, label), input);
const number = (name, value, most) => make("input", { name, type: "number", min: 0, max: most, step: 1, value, required: true });

/** A board: its lines that are known with their newest level, and a form for any line. */
class Lines {
  #rows = make("tbody");
  #lines = new Map(); // line → cell of its value
  #byHand = new Map(); // line → time and value of the last command by hand

  constructor(target, sources, act) {
    this.sources = sources;
    this.#act = (line, command, more = {}) => act({ target: target.target, command, line, ...more });
    this.lines = target.lines;
    this.#pulse = number("pulse", 50, 10000);
    const line = number("line", 8, 255), value = number("value", 0, 65535);
    const what = make("select", { name: "command" }, ...LINE_COMMANDS.map((each) => make("option", {}, each)));
    const form = make("form", { "aria-label": `command a line of ${target.target}` },
      labelled("line", line), labelled("command", what), labelled("value of analog", value),
      labelled("pulse in ms", this.#pulse), make("button", { type: "submit" }, "Send"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(Number(line.value), what.value, Number(value.value));
    });
    this.body = make("div", {}, make("table", { "aria-label": `lines of ${target.target}` }, this.#rows), form);
  }

  #act;
  #pulse;

  /** Takes the level that a command by hand has left. */
  note({ act, taken_usec: time, refused }) {
    const value = { high: 1, low: 0, pulse: 0, output: 0, analog: act.value ?? 0 }[act.command];
    if (refused) return;
    if (value === undefined) this.#byHand.delete(act.line ?? 0); // an input: its readings count
    else this.#byHand.set(act.line ?? 0, { time, value });
  }

  #send(line, command, value = 0) {
    const more = command === "pulse" ? { duration_usec: Math.round(Number(this.#pulse.value) * 1000) } : command === "analog" ? { value } : {};
    this.#act(line, command, more);
  }

  update() {
    const series = new Map([...this.lines, ...this.#byHand.keys()].map((line) => [line, null]));
    for (const stream of this.sources) for (const [name, each] of stream.series) if (!series.get(Number(name))?.times.length) series.set(Number(name), each);
    for (const line of [...series.keys()].sort((a, b) => a - b)) {
      if (!this.#lines.has(line)) this.#add(line);
      const each = series.get(line), byHand = this.#byHand.get(line);
      const later = byHand && !(each?.times.at(-1) > byHand.time); // the last one of both counts
      const last = later ? byHand.value : (each?.values.at(-1) ?? null);
      const text = last === null ? "–" : `${last}`;
      if (this.#lines.get(line).textContent !== text) this.#lines.get(line).textContent = text;
    }
  }

  #add(line) {
    const value = make("td", { class: "right" });
    const buttons = LEVELS.map(([title, command]) => make("button", { type: "button", "aria-label": `line ${line} ${command}`, onclick: () => this.#send(line, command) }, title));
    const row = make("tr", {}, make("th", { scope: "row" }, `line ${line}`), value, make("td", { class: "actions" }, ...buttons));
    const next = [...this.#lines.keys()].filter((each) => each > line).sort((a, b) => a - b)[0];
    if (next === undefined) this.#rows.append(row);
    else this.#lines.get(next).parentElement.before(row);
    this.#lines.set(line, value);
  }
}

/** A module that takes START, PAUSE, STOP, STEP, or texts such as "exposure=5000". */
function commands(target, isDevice, act) {
  const send = (command, more = {}) => act({ target: target.target, command, ...more });
  const buttons = isDevice ? [] : CONTROLS.map((command) => make("button", { type: "button", "aria-label": `${command} ${target.target}`, onclick: () => send(command) }, command[0].toUpperCase() + command.slice(1)));
  const text = make("input", { name: "text", maxlength: 200, required: true, placeholder: isDevice ? "exposure=5000" : "" });
  const form = make("form", { "aria-label": `text for ${target.target}` }, ...buttons, labelled(isDevice ? "control=value" : "text", text), make("button", { type: "submit" }, "Send"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send("custom", { text: text.value.trim() });
  });
  return { body: make("div", {}, form), update() {} };
}

const shownTarget = (target) => target.replace(OF_A_SCRIPT, "");

function actRow({ act, sent_usec: sent, taken_usec: taken, refused }) {
  const line = LINE_COMMANDS.includes(act.command) ? `line ${act.line ?? 0} ` : "";
  const value = act.command === "analog" ? ` ${act.value ?? 0}` : act.command === "pulse" ? ` ${duration(act.duration_usec ?? 0)}` : act.text ? ` ${act.text}` : "";
  const end = refused ? `refused: ${refused}` : `taken ${duration(taken - sent)} later`;
  return make("tr", { class: refused ? "refused" : "" }, make("td", { class: "time" }, duration(sent)), make("td", {}, shownTarget(act.target)),
    make("td", {}, `${line}${act.command}${value}`), make("td", {}, act.by), make("td", {}, end));
}

export class ControlPanel {
  #box;
  #store;
  #act;
  #parts = [];
  #fields = make("fieldset", {});
  #rows = make("tbody");
  #last = make("p", { class: "heard", role: "status", "aria-live": "polite" });
  #list;

  /** @param act sends a command */
  constructor(box, store, act) {
    this.#box = box;
    this.#store = store;
    this.#act = act;
    const titles = ["time", "to", "command", "by", ""].map((title) => make("th", { scope: "col", class: title === "time" ? "time" : "" }, title));
    this.#list = make("div", { class: "rows panel acts", tabindex: 0, role: "region", "aria-label": "commands that were given" }, make("table", {}, make("thead", {}, make("tr", {}, ...titles)), this.#rows));
  }

  build() {
    const { bench, role, acts } = this.#store, { targets = [], no_control: why } = bench;
    this.#parts = role === "owner" ? targets.map((target) => this.#part(target)).filter(Boolean) : [];
    this.#fields.replaceChildren(...this.#parts.map(({ title, body }) => make("article", { class: "panel", "aria-label": `control ${title}` }, make("div", {}, make("h2", {}, title)), body)));
    for (const acted of acts) this.#note(acted);
    this.#rows.replaceChildren(...acts.slice(-SHOWN).reverse().map(actRow));
    const note = !targets.length && why && role === "owner" ? [make("p", { class: "note" }, `Commands by hand: ${why}`)] : [];
    this.#box.replaceChildren(...note, this.#fields, this.#last, this.#list);
    this.#box.hidden = !(note.length || this.#parts.length || acts.length);
    this.#list.hidden = !acts.length;
  }

  #part(target) {
    const [name, port] = target.target.split("."), module = this.#store.bench.modules.find((each) => each.name === name);
    if (port === OF_A_SCRIPT.slice(1)) {
      const values = this.#values(target, this.#store.metadata[`${target.target}@view`]?.controls);
      return values && { target: target.target, title: `${name}: values`, ...values };
    }
    if (target.data_type !== "LineCommand") {
      const part = { target: target.target, title: target.target, ...commands(target, module.category === "device", this.#act) };
      const changes = `${name}.changes`, values = this.#values(target, this.#store.metadata[changes]?.controls, this.#store.streams.get(changes));
      if (values) part.body.prepend(values.body);
      return { ...part, ...(values && { note: values.note, update: values.update }) };
    }
    const streams = (ports) => ports.map((each) => this.#store.streams.get(each)).filter(Boolean);
    const readings = module.outputs.filter((each) => each.data_type === "LineReading").map((each) => `${name}.${each.id}`);
    const commanded = module.inputs.filter((each) => each.id === port && each.source).map((each) => each.source);
    const lines = new Lines(target, streams([...readings, ...commanded]), this.#act);
    return { target: target.target, title: target.target, body: lines.body, note: (acted) => lines.note(acted), update: () => lines.update() };
  }

  /** The values of a target, if it has any; `changes` is the stream of a camera that has what became of them. */
  #values({ target }, controls, changes) {
    if (!controls?.length) return null;
    const values = new Values(controls, this.#store.values[target] ?? {}, changes, (text) => this.#act({ target, command: "set", text }));
    return { body: values.body, note: (acted) => values.note(acted), update: () => values.update() };
  }

  #note(acted) {
    for (const part of this.#parts) if (part.target === acted.act.target) part.note?.(acted);
  }

  /** Shows what became of a command. */
  add(acted) {
    this.#note(acted);
    this.#rows.prepend(actRow(acted));
    while (this.#rows.rows.length > SHOWN) this.#rows.deleteRow(-1);
    this.#list.hidden = this.#box.hidden = false;
    this.#last.textContent = acted.refused ? `${shownTarget(acted.act.target)}: ${acted.act.command} was refused: ${acted.refused}` : `${shownTarget(acted.act.target)}: ${acted.act.command} taken`;
  }

  update(running) {
    this.#fields.disabled = !running;
    for (const part of this.#parts) part.update();
  }
}
