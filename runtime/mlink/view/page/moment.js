// The stretch of time that all charts show. It follows the present, or holds where somebody looks.

const SHORTEST_USEC = 200;

export class Moment {
  length = 10e6; // µs
  #end = null; // null follows the present
  #present = 0;
  #at = 0;
  running = true;
  first = -Infinity; // what comes before is not there
  longest = 3600e6;
  cursor = null; // where somebody looks, in a recording

  get isLive() {
    return this.#end === null;
  }

  /** The newest master time that is known, and that it goes on meanwhile. */
  setPresent(usec) {
    this.#present = Math.max(this.#present, usec);
    this.#at = performance.now();
  }

  get present() {
    const since = this.running ? Math.min(500, performance.now() - this.#at) * 1000 : 0;
    return this.#present + since;
  }

  get range() {
    const end = this.#end ?? this.present;
    return [end - this.length, end];
  }

  live() {
    this.#end = null;
  }

  pan(usec) {
    this.#end = (this.#end ?? this.present) + usec;
    this.#clamp();
  }

  /** Shows a stretch that ends at a time. */
  hold(end) {
    this.#end = end;
    this.#clamp();
  }

  #clamp() {
    if (this.#end === null) return;
    this.#end = Math.max(this.#end, this.first + this.length);
    if (this.#end >= this.present) this.#end = null;
  }

  /** Zooms about a place in the stretch, 0 (left) to 1 (right). */
  zoom(factor, place) {
    const [begin, end] = this.range;
    const length = Math.min(this.longest, Math.max(SHORTEST_USEC, this.length * factor));
    if (this.#end !== null || place < 0.98) {
      const about = begin + (end - begin) * place;
      const newEnd = about + length * (1 - place);
      this.#end = this.#end === null && newEnd >= this.present ? null : newEnd;
    }
    this.length = length;
    this.#clamp();
  }

  /** Shows a time, in the middle if it was outside of the stretch. */
  show(usec) {
    const [begin, end] = this.range;
    if (usec < begin || usec > end) this.#end = usec + this.length / 2;
    this.#clamp();
  }
}

/** The stretch of a recording: it stays inside, and has a cursor. */
export class RecordedMoment extends Moment {
  constructor(first, last) {
    super();
    this.first = first;
    this.last = this.end = last; // of the recording, and of what can be shown
    this.longest = this.length = last - first;
    this.cursor = first;
    this.running = false;
  }

  get present() {
    return this.end;
  }

  /** Shows the whole. */
  live() {
    super.live();
    this.length = this.longest;
  }

  /** What a recording beside this one shows: its cursor, its stretch, and its whole. */
  get shown() {
    return { cursor: this.cursor, range: this.range, whole: [this.first, this.end] };
  }

  /** Shows the same as a recording beside this one; the time axis is as long as the longer one. */
  follow({ cursor, range: [begin, end], whole: [first, last] }) {
    this.first = Math.min(this.first, first);
    this.end = Math.max(this.end, last);
    this.longest = this.end - this.first;
    this.length = Math.min(this.longest, end - begin);
    this.hold(end);
    this.cursor = Math.round(Math.min(this.last, Math.max(this.first, cursor)));
  }

  look(usec) {
    this.cursor = Math.round(Math.min(this.last, Math.max(this.first, usec)));
    this.show(this.cursor);
  }
}
