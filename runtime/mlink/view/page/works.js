// What can be done with the files of a recording: download, check, export, repair.

import { ask } from "./ask.js";
import { bytes, make } from "./format.js";

const FORMS = { csv: "CSV", parquet: "Parquet", nwb: "NWB", mat: "MATLAB", rrd: "Rerun", mp4: "MP4 (videos)" };
const REPAIR = "Repair closes what a crash left open, in the files of this recording. Intact data is not changed.\n\nRepair it now?";
const LOOK_MS = 500, IDLE_MS = 3000;

const post = (path, body) => ask(`/recording/${path}`, { method: "POST", body: JSON.stringify(body) });
const button = (text, onclick, more = {}) => make("button", { type: "button", onclick, ...more }, text);
const choice = (label, options) => make("select", { "aria-label": label }, ...options.map(([value, text]) => make("option", { value }, text)));

export class WorksPanel {
  #box;
  #of;
  #onRepaired;
  #text = make("p", { class: "note", role: "status" });
  #list = make("div");
  #acts = make("p", { class: "inside", hidden: true });
  #rows = new Map(); // number → row
  #timer = 0;

  /**
   * @param parts names of the datasets
   * @param onRepaired called when the recording has been changed
   */
  constructor(box, of, parts, onRepaired) {
    this.#box = box;
    this.#of = of;
    this.#onRepaired = onRepaired;
    const part = choice("what to download", [["", "whole recording"], ...parts.map((name) => [name, name])]);
    const form = choice("format of the export", Object.entries(FORMS));
    const decode = make("input", { type: "checkbox" });
    const begin = (what, more) => this.#begin({ what, of, ...more });
    this.#acts.append(
      make("span", {}, button("Verify", () => begin("verify", { decode: decode.checked })), make("label", { class: "check" }, decode, make("span", {}, "decode every picture"))),
      make("span", {}, form, button("Export", () => begin("export", { form: form.value }))),
      button("Repair …", () => confirm(REPAIR) && begin("repair", {})));
    box.replaceChildren(make("h2", {}, "Files"), make("p", { class: "inside" }, make("span", {}, part, button("Download", () => this.#download({ of, ...(part.value ? { part: part.value } : {}) })))), this.#acts, this.#text, this.#list);
    box.hidden = false;
    this.#look();
  }

  #say(text, bad = false) {
    this.#text.className = bad ? "note bad" : "note";
    this.#text.textContent = text;
  }

  /** Asks how large it is, so that an error is shown here, then leaves it to the browser. */
  async #download(what) {
    const query = new URLSearchParams(what);
    try {
      const { length } = await ask(`/recording/download?${query}&only=length`);
      this.#say(`The browser downloads ${bytes(length)} as a tar archive.`);
      location.assign(`/recording/download?${query}`);
    } catch (error) {
      this.#say(error.message, true);
    }
  }

  async #begin(body) {
    try {
      await post("begin", body);
      this.#say("");
    } catch (error) {
      this.#say(error.message, true);
    }
    this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    let lasts = false;
    try {
      const { role, works } = await ask(`/recording/works?of=${encodeURIComponent(this.#of)}`);
      this.#acts.hidden = role !== "owner";
      for (const work of works) this.#show(work, role);
      for (const number of [...this.#rows.keys()]) if (!works.some((each) => each.number === number)) this.#forget(number);
      lasts = works.some((each) => each.code === null);
    } catch (error) {
      this.#say(error.message, true);
    }
    this.#timer = setTimeout(() => this.#look(), lasts ? LOOK_MS : IDLE_MS);
  }

  #forget(number) {
    this.#rows.get(number).body.remove();
    this.#rows.delete(number);
  }

  #show(work, role) {
    let row = this.#rows.get(work.number);
    const lasts = work.code === null;
    if (!row) {
      row = this.#row(work, role);
      this.#rows.set(work.number, row);
      const older = [...this.#rows.keys()].filter((each) => each < work.number);
      if (older.length) this.#rows.get(Math.max(...older)).body.before(row.body);
      else this.#list.append(row.body);
    } else if (row.lasts && !lasts && work.what === "repair") this.#onRepaired();
    const [state, kind] = lasts ? [work.canceled ? "ending" : "lasts", ""] : work.canceled ? ["canceled", "warn"] : work.code === 0 ? ["good", "good"] : [work.what === "verify" && work.code === 1 ? "has findings" : "failed", "bad"];
    row.lasts = lasts;
    row.state.textContent = state;
    row.state.className = `badge ${kind}`;
    row.bar.hidden = row.cancel.hidden = !lasts;
    if (work.part_count) {
      row.bar.max = work.part_count;
      row.bar.value = work.part_number - 1;
    }
    row.at.textContent = `${lasts && work.part ? `${work.part}, ${work.part_number} of ${work.part_count}, ` : ""}${work.elapsed_s} s`;
    row.text.textContent = work.lines.join("\n");
    row.text.hidden = !work.lines.length;
    row.download.hidden = lasts || !work.folder;
    row.folder.textContent = work.folder ? `in ${work.folder}` : "";
  }

  #row({ number, what, form }, role) {
    const title = `${what[0].toUpperCase()}${what.slice(1)}${form ? ` as ${FORMS[form]}` : ""}`, label = `${what} ${number}`;
    const row = {
      state: make("span", {}), bar: make("progress", { "aria-label": `progress of ${label}` }), at: make("span", { class: "note number" }),
      cancel: button("Cancel", () => post("cancel", { number }).catch((error) => this.#say(error.message, true)), { class: "danger", "aria-label": `cancel ${label}`, disabled: role !== "owner" }),
      download: button("Download", () => this.#download({ work: number }), { "aria-label": `download ${label}` }),
      text: make("pre", { class: "note", tabindex: 0, "aria-label": `output of ${label}` }), folder: make("span", { class: "note" }),
    };
    row.body = make("article", { "aria-label": label }, make("p", { class: "line" }, make("b", {}, title), row.state, row.bar, row.at, row.cancel, row.download, row.folder), row.text);
    return row;
  }
}
