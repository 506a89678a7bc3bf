// The whole recording: for each stream how many items there are over time, and where some are lost.
// Its slider is the cursor.

import { clock, count, duration, make, rate } from "./format.js";
import { colour } from "./theme.js";

const HEIGHT = 20;

export class Overview {
  /** @param onOpen called with the name of a stream that somebody chooses */
  constructor(root, about, moment, onOpen) {
    this.#about = about;
    this.#moment = moment;
    const span = about.last_usec - about.first_usec;
    this.#slider = make("input", {
      type: "range", min: 0, max: 10000, value: 0, "aria-label": "time of the cursor",
      oninput: () => moment.look(about.first_usec + (span * this.#slider.value) / 10000),
    });
    this.#slider.step = "any";
    this.#stretch = make("div", { class: "stretch" });
    this.#cursor = make("div", { class: "cursor" });
    const head = make("div", { class: "stream-row" }, make("span", { class: "note number" }, `${duration(about.first_usec)} to ${duration(about.last_usec)}`), this.#slider);
    this.#marks = make("div", { class: "marks", "aria-hidden": "true" }, this.#stretch, this.#cursor);
    root.replaceChildren(head, make("div", { class: "streams" }, this.#marks, ...about.streams.map((stream) => this.#row(stream, onOpen))));
    this.#draw();
    new ResizeObserver(() => this.#draw()).observe(root);
    let dragging = false;
    const look = (event) => {
      const { left, width } = this.#marks.getBoundingClientRect();
      moment.look(about.first_usec + (span * (event.clientX - left)) / width);
    };
    root.addEventListener("pointerdown", (event) => {
      if (!event.target.matches("canvas")) return;
      dragging = true;
      event.target.setPointerCapture(event.pointerId);
      look(event);
    });
    root.addEventListener("pointermove", (event) => dragging && look(event));
    for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, () => (dragging = false));
  }

  #about;
  #moment;
  #slider;
  #stretch;
  #cursor;
  #marks;
  #rows = new Map(); // name → {button, canvas, stream}

  #row(stream, onOpen) {
    const facts = [stream.entries === null ? "" : count(stream.entries), stream.rate_hz ? rate(stream.rate_hz) : ""].filter(Boolean).join(", ");
    const missing = (stream.lost ?? 0) + (stream.not_taken ?? 0);
    const bad = stream.problems.length ? `${count(stream.problems.length)} problems` : missing ? `${count(missing)} lost` : "";
    const button = make("button", { type: "button", class: "stream-name", "aria-pressed": "false", title: stream.problems.join("\n"), onclick: () => onOpen(stream.name) },
      make("b", {}, stream.name), make("span", { class: bad ? "bad" : "" }, bad || facts));
    const canvas = make("canvas", { role: "img", "aria-label": `${stream.name}: ${facts}${bad ? `, ${bad}` : ""}` });
    this.#rows.set(stream.name, { button, canvas, stream });
    return make("div", { class: "stream-row" }, button, canvas);
  }

  setOpen(names) {
    for (const [name, { button }] of this.#rows) button.setAttribute("aria-pressed", String(names.has(name)));
  }

  #draw() {
    const { first_usec: first, last_usec: last } = this.#about, ratio = Math.min(2, devicePixelRatio || 1);
    for (const { canvas, stream } of this.#rows.values()) {
      const wide = canvas.clientWidth;
      if (!wide) continue;
      canvas.width = wide * ratio;
      canvas.height = HEIGHT * ratio;
      const context = canvas.getContext("2d"), most = Math.max(1, ...stream.counts), step = canvas.width / Math.max(1, stream.counts.length);
      context.fillStyle = colour(stream.kind === "video" ? "--series-1" : "--series-3");
      stream.counts.forEach((n, i) => {
        const tall = n ? canvas.height * (0.25 + (0.7 * n) / most) : 0;
        context.fillRect(i * step, canvas.height - tall, Math.max(ratio, step), tall);
      });
      context.fillStyle = colour("--red");
      for (const gap of stream.gaps) context.fillRect(((gap - first) / (last - first)) * canvas.width - ratio, 0, 3 * ratio, canvas.height);
    }
  }

  restyle() {
    this.#draw();
  }

  update() {
    const { first_usec: first, last_usec: last } = this.#about, span = last - first, { cursor, range } = this.#moment;
    const share = (usec) => (100 * (usec - first)) / span;
    this.#cursor.style.left = `${share(cursor)}%`;
    this.#stretch.style.left = `${share(range[0])}%`;
    this.#stretch.style.width = `${share(range[1]) - share(range[0])}%`;
    this.#stretch.hidden = this.#moment.isLive && this.#moment.length >= span;
    if (document.activeElement !== this.#slider) this.#slider.value = share(cursor) * 100;
    this.#slider.setAttribute("aria-valuetext", clock(cursor / 1e6));
  }
}
