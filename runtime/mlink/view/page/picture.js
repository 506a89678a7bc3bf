// The newest frame of a stream, with its number, age, and brightness.

import { count, duration, make } from "./format.js";
import { colour } from "./theme.js";

/** A picture as mlink sends it: the length of its head, the head as JSON, the JPEG. */
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  head.jpeg = new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" });
  return head;
}

export class PicturePanel {
  paused = false;

  /**
   * @param onShown called when a picture is on the screen, so that the next may come
   * @param buttons of a recording, in place of "Pause"
   */
  constructor(stream, moment, onShown, ...buttons) {
    this.stream = stream;
    this.#moment = moment;
    this.#onShown = onShown;
    this.#canvas = make("canvas", { role: "img", "aria-label": `picture of ${stream.name}` });
    this.#context = this.#canvas.getContext("2d");
    this.#histogram = make("canvas", { class: "histogram", width: 256, height: 36, role: "img", "aria-label": "histogram of brightness" });
    this.#note = make("p", { class: "note number" }, "no frame yet");
    this.#frame = make("div", { class: "picture" }, this.#canvas);
    this.#pause = make("button", { type: "button", "aria-pressed": "false", onclick: () => this.#toggle() }, "Pause");
    const full = make("button", { type: "button", onclick: () => this.#frame.requestFullscreen?.() }, "Full size");
    this.buttons = buttons.length ? [...buttons, full] : [this.#pause, full];
    this.body = make("div", {}, this.#frame, this.#note, this.#histogram);
  }

  #moment;
  #onShown;
  #canvas;
  #context;
  #histogram;
  #note;
  #frame;
  #pause;
  #last = null;

  /** Width in pixels that is worth sending. */
  get width() {
    const wide = document.fullscreenElement === this.#frame ? window.innerWidth : this.#frame.clientWidth || 420;
    return Math.ceil((wide * Math.min(2, window.devicePixelRatio || 1)) / 160) * 160;
  }

  #toggle() {
    this.paused = !this.paused;
    this.#pause.setAttribute("aria-pressed", String(this.paused));
    if (!this.paused) this.#onShown(this.stream.name);
  }

  async show(picture) {
    const image = await createImageBitmap(picture.jpeg).catch(() => null);
    if (image && !this.paused) {
      if (this.#canvas.width !== image.width || this.#canvas.height !== image.height) {
        this.#canvas.width = image.width;
        this.#canvas.height = image.height;
        this.#frame.style.aspectRatio = `${picture.shape[1]} / ${picture.shape[0]}`;
      }
      this.#frame.hidden = this.#histogram.hidden = false;
      this.#context.drawImage(image, 0, 0);
      image.close();
      this.#last = picture;
      this.#drawHistogram(picture);
      this.update();
    }
    if (!this.paused) this.#onShown(this.stream.name);
  }

  update() {
    const picture = this.#last;
    if (!picture) return;
    const [height, width] = picture.shape;
    const { cursor } = this.#moment;
    const age = (cursor ?? Math.max(picture.time_usec, this.#moment.present)) - picture.time_usec;
    const when = cursor === null ? `${duration(age)} old` : age < 0 ? "after the cursor" : `${duration(age)} before the cursor`;
    const bright = picture.scaled ? `, ${picture.low} to ${picture.high} shown as black to white` : "";
    this.#note.textContent =
      `frame ${count(picture.index)} at ${duration(picture.time_usec)}, ${when} · ` +
      `${width}×${height} ${picture.dtype}${bright}` +
      (picture.saturated > 0.001 ? ` · ${(picture.saturated * 100).toFixed(1)} % saturated` : "");
    this.#note.classList.toggle("bad", picture.saturated > 0.05);
  }

  #drawHistogram({ histogram }) {
    const context = this.#histogram.getContext("2d"), { width, height } = this.#histogram;
    const most = Math.max(1, ...histogram), step = width / histogram.length;
    context.clearRect(0, 0, width, height);
    context.fillStyle = colour("--series-1");
    histogram.forEach((n, i) => context.fillRect(i * step, height - (height * n) / most, step - 1, (height * n) / most));
  }

  /** Says why there is no picture. */
  fail(text) {
    this.#last = null;
    this.#frame.hidden = this.#histogram.hidden = true;
    this.#note.textContent = text;
    this.#note.classList.add("bad");
  }

  close() {}
}
