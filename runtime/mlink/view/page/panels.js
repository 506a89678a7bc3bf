// The panels that are open: pictures beside the others.

import { make } from "./format.js";
import { PicturePanel } from "./picture.js";

const $ = (id) => document.getElementById(id);

export class Panels extends Map {
  /** @param onChange called when one has been opened or closed */
  constructor(onChange) {
    super();
    this.onChange = onChange;
  }

  open(name, panel) {
    const close = make("button", { type: "button", "aria-label": `close ${name}`, onclick: () => this.close(name) }, "✕");
    const bar = make("div", {}, make("h2", {}, name), ...panel.buttons, close);
    panel.element = make("article", { class: "panel", "aria-label": name }, bar, panel.body);
    $(panel instanceof PicturePanel ? "pictures" : "others").append(panel.element);
    this.set(name, panel);
    this.#changed();
  }

  close(name) {
    this.get(name)?.close();
    this.get(name)?.element.remove();
    this.delete(name);
    this.#changed();
  }

  update() {
    for (const panel of this.values()) panel.update();
  }

  restyle() {
    for (const panel of this.values()) panel.restyle?.();
  }

  #changed() {
    $("pictures").hidden = $("pictures").childElementCount === 0;
    this.onChange();
  }
}
