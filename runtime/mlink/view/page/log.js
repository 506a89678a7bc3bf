// What modules log and scripts print, with a choice of module and level.

import { clock, make } from "./format.js";

const KINDS = [["all", -1], ["warnings", 30], ["errors", 40]];

export class LogPanel {
  constructor(store) {
    this.#store = store;
    this.#list = make("ol", { tabindex: 0, "aria-label": "lines of the log" });
    this.#level = make("select", { "aria-label": "level", onchange: () => this.refresh() }, ...KINDS.map(([name, level]) => make("option", { value: level }, name)));
    this.#module = make("select", { "aria-label": "module", onchange: () => this.refresh() }, make("option", { value: "*" }, "all modules"));
    this.element = make("div", { class: "log" }, make("div", { class: "bar" }, make("h2", {}, "Log"), this.#module, this.#level), this.#list);
  }

  #store;
  #list;
  #level;
  #module;

  setModules(names) {
    const found = names.map((name) => make("option", { value: name }, name));
    this.#module.replaceChildren(make("option", { value: "*" }, "all modules"), make("option", { value: "" }, "mlink"), ...found);
  }

  refresh() {
    this.#list.replaceChildren();
    this.add(this.#store.log.slice(-500));
  }

  add(lines) {
    const end = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 24;
    for (const line of lines) {
      if (line.level < Number(this.#level.value)) continue;
      if (this.#module.value !== "*" && line.module !== this.#module.value) continue;
      const kind = line.level >= 40 ? "error" : line.level >= 30 ? "warning" : "";
      this.#list.append(make("li", { class: kind }, make("span", {}, clock(line.elapsed_s)), make("span", {}, line.module || "mlink"), make("span", {}, line.text)));
    }
    while (this.#list.childElementCount > 500) this.#list.firstElementChild.remove();
    if (end) this.#list.scrollTop = this.#list.scrollHeight;
  }
}
