// How long after its newest input a module sent a command: a histogram that grows while the run lasts.

import { count, duration, make } from "./format.js";
import { colour } from "./theme.js";

const FIRST_USEC = 10, PER_DECADE = 8, DECADES = 5; // 10 µs to 1 s, logarithmic
const BINS = PER_DECADE * DECADES;
const KEPT = 20000;

export class Latency {
  #bins = new Array(BINS).fill(0);
  #values = []; // the newest ones, for quantiles
  #answered = -1; // time of the newest input that has an answer
  #chart = make("canvas", { class: "histogram", width: 640, height: 48, role: "img" });
  #text = make("p", { class: "note number" });

  /** @param sources the streams that the sender of the commands takes */
  constructor(sources) {
    this.sources = sources;
    const ends = make("p", { class: "note ends", "aria-hidden": "true" }, ...["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"].map((each) => make("span", {}, each)));
    this.element = make("div", { hidden: true }, this.#chart, ends, this.#text);
  }

  /** Takes commands that have come: each is the answer to the newest input before it, if it is the first. */
  take(times) {
    for (const time of times) {
      const inputs = this.sources.map((source) => source.newestBefore(time)).filter((each) => each !== null);
      if (!inputs.length) continue;
      const input = Math.max(...inputs), usec = time - input;
      if (input <= this.#answered) continue;
      this.#answered = input;
      const bin = Math.floor(Math.log10(Math.max(usec, FIRST_USEC) / FIRST_USEC) * PER_DECADE);
      this.#bins[Math.min(bin, BINS - 1)] += 1;
      this.#values.push(usec);
    }
    if (this.#values.length > KEPT * 1.2) this.#values.splice(0, this.#values.length - KEPT);
    this.draw();
  }

  draw() {
    if (!this.#values.length) return;
    const sorted = [...this.#values].sort((a, b) => a - b), at = (share) => duration(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
    this.#text.textContent = `from input to command: half within ${at(0.5)}, 99 % within ${at(0.99)}, longest ${at(1)} (${count(sorted.length)})`;
    this.#chart.setAttribute("aria-label", `histogram of ${this.#text.textContent}`);
    this.element.hidden = false;
    const context = this.#chart.getContext("2d"), { width, height } = this.#chart, most = Math.max(...this.#bins), step = width / BINS;
    context.clearRect(0, 0, width, height);
    context.fillStyle = colour("--series-1");
    this.#bins.forEach((n, i) => n && context.fillRect(i * step, height - Math.max(2, (height * n) / most), step - 1, height));
  }
}
