// Levels of lines and curves of channels, each in a track of its own; all share one stretch of time.

import { duration, make } from "./format.js";
import { colour } from "./theme.js";
import uPlot from "./uplot.js";

const HEIGHT = { level: 44, curve: 110 };
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4"];

class Track {
  constructor(panel, name, series, level, number) {
    this.series = series;
    this.level = level;
    this.#panel = panel;
    this.#value = make("span", { class: "number" });
    this.#chart = make("div", { class: "chart" });
    this.row = make("div", { class: "track" }, make("div", { class: "what" }, make("b", {}, name), this.#value), this.#chart);
    this.#colour = COLOURS[number % COLOURS.length];
    panel.steer(this.#chart);
  }

  #panel;
  #value;
  #chart;
  #plot = null;
  #colour;

  #build() {
    const stroke = colour(this.#colour), axis = colour("--dim"), grid = { stroke: colour("--line"), width: 1 }, ticks = { ...grid, size: 4 };
    const time = (_, values) => values.map((usec) => duration(usec));
    this.#plot = new uPlot(
      {
        width: Math.max(120, this.#chart.clientWidth),
        height: this.level ? HEIGHT.level : HEIGHT.curve,
        padding: [6, 16, 0, 0],
        cursor: { show: false },
        legend: { show: false },
        scales: { x: { time: false }, y: this.level ? { range: [-0.15, 1.15] } : {} },
        axes: [
          { show: !this.level, stroke: axis, grid, ticks, values: time, font: "11px system-ui", size: 26, gap: 4 },
          { show: !this.level, stroke: axis, grid, ticks, size: 46, font: "11px system-ui", gap: 4 },
        ],
        series: [
          {},
          {
            stroke,
            width: 1.5,
            points: { show: false },
            paths: this.level ? uPlot.paths.stepped({ align: 1 }) : undefined,
            fill: this.level ? `${stroke}22` : undefined,
          },
        ],
        hooks: { draw: [(plot) => this.#drawUncertainty(plot), (plot) => this.#drawCursor(plot)] },
      },
      [[], []],
      this.#chart,
    );
  }

  #drawCursor(plot) {
    const { cursor } = this.#panel.moment;
    if (cursor === null) return;
    plot.ctx.fillStyle = colour("--ink");
    plot.ctx.fillRect(plot.valToPos(cursor, "x", true) - 0.5, plot.bbox.top, 1.5 * devicePixelRatio, plot.bbox.height);
  }

  /** Shades where an edge may have been, when that is wider than a line. */
  #drawUncertainty(plot) {
    const usec = this.#panel.uncertainty;
    const pixels = (plot.bbox.width * usec) / (plot.scales.x.max - plot.scales.x.min);
    if (!this.level || !(pixels > 2)) return;
    plot.ctx.fillStyle = `${colour(this.#colour)}44`;
    for (const time of plot.data[0]) {
      const x = plot.valToPos(time, "x", true);
      plot.ctx.fillRect(x - pixels, plot.bbox.top, 2 * pixels, plot.bbox.height);
    }
  }

  draw([begin, end], resized) {
    if (this.#plot === null) this.#build();
    if (resized) this.#plot.setSize({ width: Math.max(120, this.#chart.clientWidth), height: this.#plot.height });
    const [times, values] = this.series.between(begin, end);
    const known = Math.min(end, this.#panel.moment.last ?? end);
    if (this.level && times.length && times[times.length - 1] < known) {
      times.push(known);
      values.push(values[values.length - 1]); // a line keeps its level
    }
    this.#plot.setData([times, values], false);
    this.#plot.setScale("x", { min: begin, max: end });
    const { cursor } = this.#panel.moment;
    const last = cursor === null ? (values.at(-1) ?? null) : this.series.at(cursor);
    this.#value.textContent = last === null ? "no value" : this.level ? (last ? "high" : "low") : `${Number(last.toPrecision(6))}`;
  }

  restyle() {
    this.#plot?.destroy();
    this.#plot = null;
  }
}

export class TracksPanel {
  buttons = [];

  constructor(stream, moment, metadata) {
    this.stream = stream;
    this.uncertainty = metadata?.uncertainty_usec > 0 ? metadata.uncertainty_usec : 0;
    this.moment = moment;
    this.#names = metadata?.signal_names ?? [];
    this.#tracks = new Map();
    this.#empty = make("p", { class: "note" }, "no value yet");
    this.#list = make("div", {});
    this.#note = make("p", { class: "note number" });
    this.body = make("div", {}, this.#list, this.#empty, this.#note);
    this.#observer = new ResizeObserver(() => (this.#resized = true));
    this.#observer.observe(this.body);
  }

  #names;
  #tracks;
  #list;
  #empty;
  #note;
  #observer;
  #resized = false;

  steer(chart) {
    let from = null, moved = false;
    chart.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        this.moment.pan((event.deltaX / chart.clientWidth) * this.moment.length);
      } else {
        const { left, width } = chart.getBoundingClientRect();
        this.moment.zoom(Math.exp(event.deltaY * 0.0015), (event.clientX - left) / width);
      }
      event.preventDefault();
    }, { passive: false });
    chart.addEventListener("pointerdown", (event) => {
      from = event.clientX;
      moved = false;
      chart.setPointerCapture(event.pointerId);
    });
    chart.addEventListener("pointermove", (event) => {
      if (from === null || (!moved && Math.abs(event.clientX - from) < 4)) return;
      moved = true;
      this.moment.pan(((from - event.clientX) / chart.clientWidth) * this.moment.length);
      from = event.clientX;
    });
    chart.addEventListener("click", (event) => {
      if (moved) return;
      const { left, width } = chart.querySelector(".u-over").getBoundingClientRect();
      const [begin, end] = this.moment.range;
      this.moment.look?.(begin + ((end - begin) * (event.clientX - left)) / width);
    });
    for (const end of ["pointerup", "pointercancel"]) chart.addEventListener(end, () => (from = null));
  }

  #title(name) {
    if (this.stream.type.startsWith("Signal")) return this.#names[Number(name)] ?? `channel ${name}`;
    return `line ${name}`;
  }

  update() {
    for (const [name, series] of this.stream.series) {
      const level = this.stream.binary.get(name) === true, known = this.#tracks.get(name);
      if (known && known.level === level) continue;
      const track = new Track(this, this.#title(name), series, level, [...this.stream.series.keys()].indexOf(name));
      if (known) known.row.replaceWith(track.row);
      else this.#list.append(track.row);
      this.#tracks.set(name, track);
    }
    this.#empty.hidden = this.#tracks.size > 0;
    const range = this.moment.range;
    for (const track of this.#tracks.values()) track.draw(range, this.#resized);
    this.#resized = false;
    const unsure = this.uncertainty ? ` · times ± ${duration(this.uncertainty)}` : "";
    const missed = this.stream.missed ? ` · ${this.stream.missed} not shown here` : "";
    this.#note.textContent = `${duration(Math.max(0, range[0]))} to ${duration(range[1])}${unsure}${missed}`;
  }

  restyle() {
    for (const track of this.#tracks.values()) track.restyle();
  }

  close() {
    this.#observer.disconnect();
    this.restyle();
  }
}
