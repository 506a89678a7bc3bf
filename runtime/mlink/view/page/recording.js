// The page of a recording: an overview with a cursor, and panels of streams about it.

import { ask } from "./ask.js";
import { clock, count, duration, make } from "./format.js";
import { RecordedMoment } from "./moment.js";
import { Overview } from "./overview.js";
import { Panels } from "./panels.js";
import { PicturePanel, unpacked } from "./picture.js";
import { RowsPanel } from "./rows.js";
import { Stream } from "./store.js";
import { wireTheme } from "./theme.js";
import { TracksPanel } from "./tracks.js";
import { WorksPanel } from "./works.js";

const FIRST_OPEN = 6, POINTS = 1500;
const $ = (id) => document.getElementById(id);
const given = new URLSearchParams(location.search), asked = new URLSearchParams(location.hash.slice(1));
const of = given.get("of") ?? ".", beside = given.get("beside") ? new BroadcastChannel(given.get("beside")) : null;
document.body.classList.toggle("framed", beside !== null);
if (given.has("of")) $("home").hidden = false;
history.replaceState(null, "", (given.has("of") ? `/recording?of=${encodeURIComponent(of)}` : "/") + location.hash);

let about = null, moment = null, overview = null;
const sources = new Map(), panels = new Panels(changed);

// -- questions ----------------------------------------------------------------------------------

const answer = (what, values = {}) => ask(`/recording/${what}?${new URLSearchParams({ of, ...values })}`);

/** Asks for what a panel shows, once at a time, whenever the cursor or the stretch has changed. */
class Source {
  #key;
  #busy = false;

  /**
   * @param question what to ask now: [what, values]
   * @param take is given the answer
   * @param shown values whose answer the panel has already
   */
  constructor(name, question, take, fail, shown = null) {
    this.name = name;
    this.question = question;
    this.take = take;
    this.fail = fail;
    this.#key = JSON.stringify(shown);
  }

  async look() {
    const [what, values] = this.question(), key = JSON.stringify(values);
    if (this.#busy || key === this.#key) return;
    this.#busy = true;
    this.#key = key;
    try {
      await this.take(await answer(what, { stream: this.name, ...values }));
    } catch (error) {
      this.fail(error.message);
    }
    this.#busy = false;
  }
}

// -- panels -----------------------------------------------------------------------------------

async function open(name) {
  const found = about.streams.find((each) => each.name === name);
  if (!found || sources.has(name)) return;
  if (found.kind === "video") openVideo(name);
  else await openPart(found);
}

function openVideo(name) {
  let before = null, after = null;
  const step = (text, label, target) => make("button", { type: "button", "aria-label": `${label} of ${name}`, onclick: () => target() !== null && moment.look(target()) }, text);
  const panel = new PicturePanel(new Stream(name, "Frame"), moment, () => {}, step("‹", "frame before", () => before), step("›", "frame after", () => after));
  const take = (data) => {
    const picture = unpacked(data);
    before = picture.before_usec;
    after = picture.after_usec;
    return panel.show(picture);
  };
  sources.set(name, new Source(name, () => ["picture", { end: moment.cursor, most: panel.width }], take, (text) => panel.fail(text)));
  panels.open(name, panel);
}

function stretch() {
  const [begin, end] = moment.range;
  return { begin: Math.floor(begin), end: Math.ceil(end), most: POINTS };
}

/** Lines, curves or rows: the answer shows which. */
async function openPart(found) {
  const { name } = found, stream = new Stream(name, "");
  sources.set(name, null); // it is on its way
  const values = stretch();
  let first;
  try {
    first = await answer("part", { stream: name, ...values });
  } catch (error) {
    sources.delete(name); // closed and opened again, it is asked for again
    panels.open(name, new NotePanel(error.message));
    return;
  }
  const titles = first.last?.titles ?? [], isRows = Boolean(first.columns?.cells);
  stream.replace(first);
  if (first.columns?.data) stream.type = "Signal";
  const panel = isRows ? new RowsPanel(stream, { table_header: titles })
    : new TracksPanel(stream, moment, { uncertainty_usec: found.uncertainty_usec, signal_names: titles });
  const question = isRows ? () => ["part", { end: moment.cursor }] : () => ["part", stretch()];
  const take = (items) => {
    stream.replace(items);
    if (isRows) panel.showAbout(items.last?.now ?? -1);
  };
  sources.set(name, new Source(name, question, take, (text) => headline(text), isRows ? null : values));
  panels.open(name, panel);
}

/** In place of a stream that cannot be shown: why. */
class NotePanel {
  buttons = [];

  constructor(text) {
    this.body = make("p", { class: "note bad" }, text);
  }

  update() {}

  close() {}
}

function changed() {
  for (const name of sources.keys()) if (sources.get(name) && !panels.has(name)) sources.delete(name);
  overview?.setOpen(new Set(panels.keys()));
  keepLink();
}

let kept = 0;
/** The link leads to this moment and these streams. */
function keepLink() {
  kept = performance.now();
  if (!moment) return;
  const now = new URLSearchParams({ t: moment.cursor, open: [...panels.keys()].join("\n") });
  history.replaceState(null, "", `${location.pathname}${location.search}#${now}`);
}

// -- the recording ------------------------------------------------------------------------------

function headline(text, kind = "", title = "") {
  $("failure").className = kind;
  $("failure").hidden = !text;
  $("failure").replaceChildren(...(title ? [make("h2", {}, title)] : []), make("p", {}, text));
}

function showHead() {
  const [text, kind] = !about.closed ? ["not closed", "warn"] : about.success ? ["completed", "good"] : ["failed", "bad"];
  const lost = about.streams.reduce((sum, each) => sum + (each.lost ?? 0) + (each.not_taken ?? 0), 0);
  const known = about.streams.some((each) => each.lost !== null);
  $("name").textContent = about.name;
  document.title = `${about.name} – mlink`;
  $("result").textContent = text;
  $("result").className = `badge ${kind}`;
  $("lost").textContent = lost ? `${count(lost)} lost` : known ? "nothing lost" : "losses unknown";
  $("lost").className = `badge ${lost ? "bad" : ""}`;
  if (about.failure) headline(about.failure, "", "The run failed");
  else if (!about.closed) headline("It is still being recorded, or its run was killed: mlink repair closes it.", "away", "The end of the run was not written");
  const facts = Object.entries(about.facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  const problems = [...about.problems, ...about.streams.flatMap((each) => each.problems.map((text) => `${each.name}: ${text}`))];
  $("facts").replaceChildren(make("dl", {}, ...facts, make("dt", {}, "folder"), make("dd", {}, about.path)),
    ...(problems.length ? [make("h2", {}, "What is wrong with its files"), make("ul", {}, ...problems.map((text) => make("li", {}, text)))] : []));
}

async function begin() {
  try {
    about = await answer("overview");
  } catch (error) {
    $("result").textContent = "not readable";
    $("result").className = "badge bad";
    headline(error.message, "", "The recording cannot be shown");
    return;
  }
  moment = new RecordedMoment(about.first_usec, about.last_usec);
  moment.look(Number(asked.get("t") ?? about.first_usec) || 0);
  showHead();
  if (beside) followOther();
  new WorksPanel($("works"), of, about.streams.filter((each) => each.name).map((each) => each.name), () => location.reload());
  $("play").disabled = false;
  overview = new Overview($("overview"), about, moment, (name) => (panels.has(name) ? panels.close(name) : open(name)));
  const rank = (stream) => ["video", "json", "zarr", "table"].indexOf(stream.kind);
  const shown = about.streams.filter((each) => rank(each) >= 0 && each.counts.length).sort((a, b) => rank(a) - rank(b));
  const names = asked.has("open") ? asked.get("open").split("\n").filter(Boolean) : shown.slice(0, FIRST_OPEN).map((each) => each.name);
  for (const name of names) await open(name);
}

// -- a recording beside this one ----------------------------------------------------------------

let told = "";
/** Follows the recording in the other frame, whichever of them somebody moves. */
function followOther() {
  beside.onmessage = ({ data }) => {
    if (data === "begins") return void (told = ""); // it has heard nothing yet
    const isNew = moment.end < data.whole[1] || moment.first > data.whole[0], isWhole = moment.isLive && moment.length >= moment.longest;
    moment.follow(data);
    if (isNew && isWhole) moment.live(); // both begin with all of the longer one
    else told = JSON.stringify(moment.shown);
  };
  beside.postMessage("begins");
}

function tellOther() {
  const shown = JSON.stringify(moment.shown);
  if (shown !== told) beside.postMessage(moment.shown);
  told = shown;
}

// -- what the person does ---------------------------------------------------------------------

let playing = false;
function play(on) {
  if (on && moment.cursor >= moment.last) moment.look(moment.first);
  playing = on;
  $("play").setAttribute("aria-pressed", String(on));
  $("play").textContent = on ? "Pause" : "Play";
}

$("play").addEventListener("click", () => moment && play(!playing));
$("whole").addEventListener("click", () => moment?.live());
wireTheme($("theme"), () => {
  panels.restyle();
  overview?.restyle();
});
addEventListener("keydown", (event) => {
  if (!moment || event.target.matches("input, select, textarea, button") || event.ctrlKey || event.metaKey || event.altKey) return;
  const place = (moment.cursor - moment.range[0]) / moment.length, step = moment.length / 100;
  const acts = {
    l: () => moment.live(), L: () => moment.live(), "+": () => moment.zoom(0.5, place), "-": () => moment.zoom(2, place),
    ArrowLeft: () => moment.look(moment.cursor - step), ArrowRight: () => moment.look(moment.cursor + step),
    Home: () => moment.look(moment.first), End: () => moment.look(moment.last), " ": () => play(!playing),
  };
  if (!acts[event.key]) return;
  acts[event.key]();
  event.preventDefault();
});

let drawn = 0, before = performance.now();
function frame(now) {
  if (moment && !document.hidden) {
    if (playing) moment.look(moment.cursor + (now - before) * 1000);
    if (playing && moment.cursor >= moment.last) play(false);
    if (now - drawn > 40) {
      drawn = now;
      $("at").textContent = `${moment.length < 2e6 ? duration(moment.cursor) : clock(moment.cursor / 1e6)} of ${clock(moment.last / 1e6)}`;
      $("whole").disabled = moment.isLive && moment.length >= moment.longest;
      overview?.update();
      panels.update();
      for (const source of sources.values()) source?.look();
      if (beside) tellOther();
      if (now - kept > 1000) keepLink();
    }
  }
  before = now;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
begin();
