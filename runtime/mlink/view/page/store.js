// What this page knows of the run: bench, status, log, and the newest items of each stream.

const KEPT = 20000;

/** Points of one curve or line: times in µs and values, the oldest dropped. */
export class Series {
  times = [];
  values = [];

  add(time, value) {
    // Arrivals of one stream may go back by a few µs.
    let at = this.times.length;
    while (at > 0 && this.times[at - 1] > time && this.times.length - at < 50) at -= 1;
    if (at === this.times.length) {
      this.times.push(time);
      this.values.push(value);
    } else {
      this.times.splice(at, 0, time);
      this.values.splice(at, 0, value);
    }
    if (this.times.length > KEPT * 1.2) {
      this.times.splice(0, this.times.length - KEPT);
      this.values.splice(0, this.values.length - KEPT);
    }
  }

  clear() {
    this.times = [];
    this.values = [];
  }

  /** The value that holds at a time; null before the first. */
  at(time) {
    const next = bisect(this.times, time + 0.5);
    return next ? this.values[next - 1] : null;
  }

  /** The points from before `begin` to after `end`, so that lines cross the edges. */
  between(begin, end) {
    const from = Math.max(0, bisect(this.times, begin) - 1);
    const to = Math.min(this.times.length, bisect(this.times, end) + 1);
    return [this.times.slice(from, to), this.values.slice(from, to)];
  }
}

function bisect(times, time) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One stream: its type and, by type, its series, marks, rows or newest frame. */
export class Stream {
  series = new Map(); // name → Series
  binary = new Map(); // name → whether it has had no value but 0 and 1
  rows = []; // {time, cells}
  frame = null;
  missed = 0;

  constructor(name, type) {
    this.name = name;
    this.type = type;
  }

  add({ columns, missed, last }) {
    this.missed += missed ?? 0;
    if (last && Object.keys(last).length) this.frame = last;
    if (!columns?.time_usec) return;
    const times = columns.time_usec;
    if (columns.data) columns.data.forEach((values, channel) => this.#all(`${channel}`, times, values));
    else if (columns.cells) this.#rows(times, columns.cells);
    else if (columns.command) this.#commands(times, columns);
    else times.forEach((time, i) => this.#point(`${columns.line[i]}`, time, columns.value[i]));
  }

  /** The time of the newest item at or before a time; null where none is known. */
  newestBefore(time) {
    let newest = null;
    for (const series of this.series.values()) {
      const next = bisect(series.times, time + 0.5);
      if (next && (newest === null || series.times[next - 1] > newest)) newest = series.times[next - 1];
    }
    return newest;
  }

  /** Forgets what it had, for another stretch of a recording. */
  replace(items) {
    for (const series of this.series.values()) series.clear();
    this.rows = [];
    this.add(items);
  }

  #all(name, times, values) {
    times.forEach((time, i) => this.#point(name, time, values[i], false));
  }

  #point(name, time, value, binary = value === 0 || value === 1) {
    if (!this.series.has(name)) this.series.set(name, new Series());
    this.binary.set(name, (this.binary.get(name) ?? true) && binary);
    this.series.get(name).add(time, value);
  }

  #commands(times, { command, line, value }) {
    const cells = times.map((_, i) => (line ? [command[i], `line ${line[i]}`, `${value[i]}`] : [command[i]]));
    this.#rows(times, cells);
    if (!line) return;
    times.forEach((time, i) => {
      const name = `${line[i]}`;
      if (command[i] === "WRITE_DIGITAL") this.#point(name, time, value[i] ? 1 : 0);
      else if (command[i] === "WRITE_DIGITAL_PULSE") {
        this.#point(name, time, 1);
        this.#point(name, time + value[i], 0);
      } else if (command[i] === "WRITE_ANALOG") this.#point(name, time, value[i], false);
    });
  }

  #rows(times, cells) {
    times.forEach((time, i) => this.rows.push({ time, cells: cells[i] }));
    if (this.rows.length > 1000) this.rows.splice(0, this.rows.length - 1000);
  }
}

export class Store extends EventTarget {
  bench = null;
  status = null;
  ended = null;
  lostContact = false;
  role = "guest";
  stood = null; // where a run in virtual time stands
  folder = ""; // of the `mlink view` that serves this page
  metadata = {};
  log = [];
  values = {}; // target → name → what it was set to by hand
  acts = []; // commands by hand, and what became of them
  guestToken = ""; // of the link for those who may only look
  streams = new Map();

  take(message) {
    const { kind } = message;
    if (kind === "Welcome") this.#welcome(message);
    else if (kind === "Begins") this.#setBench(message.bench);
    else if (kind === "Status") this.status = message;
    else if (kind === "Ended") this.ended = message;
    else if (kind === "Gone") this.lostContact = true;
    else if (kind === "Stood") this.stood = message;
    else if (kind === "FeedBegins") this.metadata = message.metadata;
    else if (kind === "Acted") this.#addAct(message);
    else if (kind === "Log") this.#addLog(message);
    else if (kind === "Batch") message.items.forEach((items) => this.streams.get(items.stream)?.add(items));
    this.dispatchEvent(new CustomEvent(kind, { detail: message }));
  }

  #welcome(message) {
    this.role = message.role;
    this.folder = message.folder;
    this.status = message.status;
    this.ended = message.ended;
    this.lostContact = message.lost_contact;
    this.metadata = message.metadata;
    this.stood = message.stood;
    this.log = message.log;
    this.acts = message.acts;
    this.values = message.values;
    this.guestToken = message.guest_token;
    this.streams.clear();
    if (message.bench) this.#setBench(message.bench);
    message.items.forEach((items) => this.streams.get(items.stream)?.add(items));
  }

  #setBench(bench) {
    this.bench = bench;
    for (const module of bench.modules)
      for (const port of module.outputs) {
        const name = `${module.name}.${port.id}`;
        if (!this.streams.has(name)) this.streams.set(name, new Stream(name, port.data_type));
      }
  }

  #addAct(acted) {
    const [, name, value] = acted.act.text?.match(/^([^=]*)=(.*)$/) ?? [];
    if (name && !acted.refused) (this.values[acted.act.target] ??= {})[name.trim()] = value.trim();
    this.acts.push(acted);
    if (this.acts.length > 200) this.acts.splice(0, this.acts.length - 200);
  }

  #addLog({ lines, left_out: leftOut }) {
    if (leftOut) this.log.push({ module: "", level: 30, text: `… ${leftOut} lines left out …`, elapsed_s: 0 });
    this.log.push(...lines);
    if (this.log.length > 2000) this.log.splice(0, this.log.length - 2000);
  }
}
