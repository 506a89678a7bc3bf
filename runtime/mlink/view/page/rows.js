// The newest rows of a table, or commands, newest first.

import { duration, make } from "./format.js";

const SHOWN = 60;

export class RowsPanel {
  buttons = [];

  constructor(stream, metadata) {
    this.stream = stream;
    const titles = metadata?.table_header ?? [];
    const head = make("tr", {}, make("th", { class: "time", scope: "col" }, "time"), ...titles.map((title) => make("th", { scope: "col" }, String(title))));
    this.#rows = make("tbody");
    this.#note = make("p", { class: "note" }, "no row yet");
    this.body = make("div", {}, make("div", { class: "rows", tabindex: 0, role: "region", "aria-label": `rows of ${stream.name}` }, make("table", {}, make("thead", {}, head), this.#rows)), this.#note);
  }

  #rows;
  #note;
  #last = null;

  /** Shows rows about a moment, in their order, for a recording; `now` is the last one before it. */
  showAbout(now) {
    const rows = this.stream.rows.map(({ time, cells }, i) =>
      make("tr", { class: i > now ? "later" : "", "aria-current": i === now ? "true" : false }, make("td", { class: "time" }, duration(time)), ...cells.map((cell) => make("td", {}, cell))));
    this.#rows.replaceChildren(...rows);
    this.#last = this.stream.rows.at(-1) ?? null;
    this.#note.textContent = rows.length ? "" : "no rows";
    const box = this.body.firstElementChild, current = rows[Math.max(0, now)];
    if (current) box.scrollTop = current.offsetTop - box.clientHeight / 2;
  }

  update() {
    const rows = this.stream.rows;
    if (!rows.length || rows[rows.length - 1] === this.#last) return;
    const since = this.#last === null ? -1 : rows.lastIndexOf(this.#last);
    this.#last = rows[rows.length - 1];
    for (const { time, cells } of rows.slice(Math.max(since + 1, rows.length - SHOWN))) {
      this.#rows.prepend(make("tr", {}, make("td", { class: "time" }, duration(time)), ...cells.map((cell) => make("td", {}, cell))));
    }
    while (this.#rows.rows.length > SHOWN) this.#rows.deleteRow(-1);
    this.#note.textContent = this.stream.missed ? `${this.stream.missed} not shown here` : "";
  }

  close() {}
}
