// The stretch of time that all charts show. It follows the present, or holds where somebody looks.

const SHORTEST_USEC = 200, LONGEST_USEC = 3600e6;

export class Moment {
  length = 10e6; // µs
  #end = null; // null follows the present
  #present = 0;
  #at = 0;
  running = true;

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
    if (this.#end > this.present) this.#end = null;
  }

  /** Zooms about a place in the stretch, 0 (left) to 1 (right). */
  zoom(factor, place) {
    const [begin, end] = this.range;
    const length = Math.min(LONGEST_USEC, Math.max(SHORTEST_USEC, this.length * factor));
    if (this.#end !== null || place < 0.98) {
      const about = begin + (end - begin) * place;
      const newEnd = about + length * (1 - place);
      this.#end = this.#end === null && newEnd >= this.present ? null : newEnd;
    }
    this.length = length;
  }
}
