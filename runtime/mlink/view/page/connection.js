// The WebSocket to the program of the view. It connects again by itself until the run has ended.

import { unpacked } from "./picture.js";

const STALLED_MSEC = 2000;

export class Connection extends EventTarget {
  #socket = null;
  #lastHeard = 0;
  #ended = false;
  #watched = {};
  state = "connecting"; // connecting, open, stalled, lost, refused

  start() {
    this.#connect();
    setInterval(() => this.#look(), 500);
  }

  /** Shows pictures of these streams: name → width. */
  watch(pictures) {
    this.#watched = pictures;
    this.#send({ kind: "watch", pictures });
  }

  shown(stream) {
    this.#send({ kind: "shown", stream });
  }

  stopRun() {
    this.#send({ kind: "stop" });
  }

  /** Steps through a run in virtual time, or looks into a chip. */
  step(request) {
    this.#send(request);
  }

  act(command) {
    this.#send({ kind: "act", ...command });
  }

  /** The run has ended: silence is no fault any more. */
  end() {
    this.#ended = true;
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const run = location.pathname.match(/^\/run(\/\d+)$/)?.[1] ?? ""; // of a folder's page
    const socket = new WebSocket(`${scheme}://${location.host}/live/1${run}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#lastHeard = performance.now();
      this.#become("open");
      this.watch(this.#watched);
    });
    socket.addEventListener("message", ({ data }) => {
      this.#lastHeard = performance.now();
      if (this.state === "stalled") this.#become("open");
      const message = typeof data === "string" ? JSON.parse(data) : unpacked(data);
      this.dispatchEvent(new CustomEvent("message", { detail: message }));
    });
    socket.addEventListener("close", ({ code }) => {
      if (code === 1008) this.#become("refused");
      else this.#become("lost");
      if (!this.#ended && code !== 1008) setTimeout(() => this.#connect(), 1000);
    });
  }

  #look() {
    const silent = performance.now() - this.#lastHeard > STALLED_MSEC;
    if (this.state === "open" && silent && !this.#ended) this.#become("stalled");
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
