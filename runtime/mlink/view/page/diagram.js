// The bench as a picture: modules in columns along their streams, with rates, queues and losses.

import { count, rate } from "./format.js";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 168, GAP_X = 168, GAP_Y = 18, MARGIN = 20, ROW = 30;

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Columns of modules: each is right of its sources, except for those that close a cycle. */
function columnsOf(modules) {
  const column = new Map(), byName = new Map(modules.map((m) => [m.name, m]));
  const place = (module, above) => {
    if (column.has(module.name)) return column.get(module.name);
    let at = 0;
    for (const input of module.inputs) {
      const source = byName.get(input.source.split(".")[0]);
      if (!source || above.has(source.name) || source === module) continue;
      if (module.category === "device") continue; // what commands a device stands right of it
      at = Math.max(at, place(source, new Set([...above, module.name])) + 1);
    }
    column.set(module.name, at);
    return at;
  };
  modules.forEach((module) => place(module, new Set([module.name])));
  const columns = [];
  modules.forEach((module) => (columns[column.get(module.name)] ??= []).push(module));
  return columns.filter(Boolean);
}

export class Diagram {
  #root;
  #onOpen;
  #bench = null;
  #quiet = true; // leave out streams that nobody takes and that have sent nothing
  #sent = new Set(); // streams that have sent something
  #streams = new Map(); // name → {group, rateText, queues}
  #modules = new Map();

  constructor(root, onOpen) {
    this.#root = root;
    this.#onOpen = onOpen;
  }

  build(bench) {
    this.#bench = bench;
    this.#streams.clear();
    this.#modules.clear();
    const columns = columnsOf(bench.modules), boxes = new Map();
    const taken = new Set(bench.modules.flatMap((module) => module.inputs.map((input) => input.source)));
    const isShown = (name) => !this.#quiet || taken.has(name) || this.#sent.has(name);
    const shown = (module) => module.outputs.filter((port) => isShown(`${module.name}.${port.id}`));
    let height = 0;
    columns.forEach((modules, x) => {
      let y = MARGIN;
      for (const module of modules) {
        const rows = shown(module).length + (shown(module).length < module.outputs.length ? 1 : 0);
        const tall = Math.max(60, 14 + rows * ROW);
        boxes.set(module.name, { x: MARGIN + x * (WIDTH + GAP_X), y, tall, module });
        y += tall + GAP_Y;
      }
      height = Math.max(height, y);
    });
    // Commands to what stands further left run below all boxes.
    const bottom = height, width = 2 * MARGIN + columns.length * (WIDTH + GAP_X) - 20;
    const root = svg("svg", { viewBox: `0 0 ${width} ${bottom + 14}`, role: "group" });
    root.style.width = "100%";
    root.style.maxWidth = `${width}px`;
    root.style.minWidth = `${Math.min(width, 560)}px`;
    const arrows = svg("g"), labels = svg("g");
    for (const box of boxes.values()) root.append(this.#box(box));
    root.append(arrows, labels);
    for (const { x, y, module } of boxes.values()) {
      const ports = shown(module);
      ports.forEach((port, row) => {
        const name = `${module.name}.${port.id}`;
        const from = { x: x + WIDTH, y: y + 7 + row * ROW + ROW / 2 };
        labels.append(this.#stream(name, port, from, boxes, bottom, arrows));
      });
      const hidden = module.outputs.length - ports.length;
      if (hidden) labels.append(this.#more(hidden, x + WIDTH + 8, y + 7 + ports.length * ROW + ROW / 2));
    }
    this.#root.replaceChildren(root);
  }

  #rebuild() {
    const open = [...this.#streams].filter(([, { group }]) => group.classList.contains("open"));
    this.build(this.#bench);
    this.setOpen(new Set(open.map(([name]) => name)));
  }

  #more(hidden, x, y) {
    const text = svg("text", { x: x + 8, y: y + 4, class: "dim more", tabindex: 0, role: "button" });
    text.textContent = `+ ${hidden} quiet`;
    const show = () => {
      this.#quiet = false;
      this.#rebuild();
    };
    text.addEventListener("click", show);
    text.addEventListener("keydown", (event) => event.key === "Enter" && show());
    return text;
  }

  #box({ x, y, tall, module }) {
    const group = svg("g");
    const title = svg("text", { x: x + 10, y: y + 18, "font-weight": 600 });
    title.textContent = short(module.name, 20);
    const kind = svg("text", { x: x + 10, y: y + 34, class: "dim" });
    kind.textContent = short(module.device || module.type, 25);
    const status = svg("text", { x: x + 10, y: y + 49, class: "dim" });
    const hint = svg("title");
    hint.textContent = `${module.name}: ${module.title}${module.device ? `, ${module.device}` : ""}`;
    group.append(svg("rect", { class: "module", x, y, width: WIDTH, height: tall, rx: 8 }), title, kind, status, hint);
    this.#modules.set(module.name, status);
    return group;
  }

  #stream(name, port, from, boxes, bottom, arrows) {
    const group = svg("g", { class: "stream", tabindex: 0, role: "button", "aria-pressed": "false" });
    group.setAttribute("aria-label", `stream ${name}, ${port.data_type}`);
    const targets = [];
    for (const { x, y, tall, module } of boxes.values())
      module.inputs.forEach((input, row) => {
        if (input.source === name) targets.push({ key: `${module.name}.${input.id}`, x, y: y + Math.min(tall - 8, 20 + row * 16) });
      });
    const queues = new Map(), way = svg("g", { class: "way" });
    const pill = { x: from.x + 8, y: from.y - 11, width: 118, height: 22 };
    for (const target of targets) {
      const start = pill.x + pill.width, back = target.x < start;
      const mid = (target.x - start) / 2, left = target.x - 12, right = start + 10;
      const path = back
        ? `M${start} ${from.y} Q${right} ${from.y} ${right} ${from.y + 12} L${right} ${bottom - 8} Q${right} ${bottom} ${right - 12} ${bottom} L${left + 12} ${bottom} Q${left} ${bottom} ${left} ${bottom - 8} L${left} ${target.y + 10} Q${left} ${target.y} ${target.x} ${target.y}`
        : `M${start} ${from.y} C${start + mid} ${from.y} ${start + mid} ${target.y} ${target.x} ${target.y}`;
      const queue = svg("rect", { class: "queue", x: target.x - 2, y: target.y - 8, width: 4, height: 0 });
      const hint = svg("title");
      queue.append(hint);
      queues.set(target.key, { queue, hint, y: target.y });
      way.append(svg("path", { d: path }), queue);
    }
    const text = svg("text", { x: pill.x + 8, y: pill.y + 15, class: "dim" });
    text.textContent = short(port.id, 11);
    const rateText = svg("text", { x: pill.x + pill.width - 6, y: pill.y + 15, class: "dim rate", "text-anchor": "end" });
    group.append(svg("rect", { class: "label", rx: 11, ...pill }), text, rateText);
    const open = () => this.#onOpen(name);
    group.addEventListener("click", open);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open();
      }
    });
    arrows.append(way);
    this.#streams.set(name, { group, way, rateText, queues });
    return group;
  }

  setOpen(names) {
    for (const [name, { group }] of this.#streams) {
      group.classList.toggle("open", names.has(name));
      group.setAttribute("aria-pressed", String(names.has(name)));
    }
  }

  update(status) {
    const before = this.#sent.size;
    for (const stream of status.streams) if (stream.sent) this.#sent.add(stream.name);
    if (this.#quiet && this.#sent.size > before && [...this.#sent].some((name) => !this.#streams.has(name))) {
      this.#rebuild();
    }
    for (const stream of status.streams) {
      const shown = this.#streams.get(stream.name);
      if (!shown) continue;
      const lost = stream.subscriptions.reduce((sum, each) => sum + each.lost, 0);
      shown.group.classList.toggle("loses", lost > 0);
      shown.way.classList.toggle("loses", lost > 0);
      shown.rateText.textContent = lost ? `lost ${count(lost)}` : rate(stream.rate_hz);
      for (const each of stream.subscriptions) {
        const bar = shown.queues.get(`${each.module}.${each.port}`);
        if (!bar) continue;
        const share = each.queue_limit ? Math.min(1, each.queued / each.queue_limit) : 0;
        bar.queue.setAttribute("height", String(16 * share));
        bar.queue.setAttribute("y", String(bar.y + 8 - 16 * share));
        bar.queue.classList.toggle("half", share > 0.5);
        bar.hint.textContent = `${each.module}.${each.port}: ${count(each.queued)} queued, ${count(each.lost)} lost`;
      }
    }
    for (const [name, text] of this.#modules) text.textContent = short(status.modules[name] ?? "", 25);
  }
}
