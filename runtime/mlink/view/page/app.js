// The page: header, diagram, panels of the streams that are open, log, and how the run ended.

import { Connection } from "./connection.js";
import { ControlPanel } from "./control.js";
import { Diagram } from "./diagram.js";
import { clock, count, make } from "./format.js";
import { Latency } from "./latency.js";
import { LogPanel } from "./log.js";
import { Moment } from "./moment.js";
import { Panels } from "./panels.js";
import { PicturePanel } from "./picture.js";
import { RowsPanel } from "./rows.js";
import { SteppingPanel } from "./stepping.js";
import { Store } from "./store.js";
import { wireTheme } from "./theme.js";
import { TracksPanel } from "./tracks.js";

const PHASES = {
  check: "checking", spawn: "starting processes", prepare: "preparing", start: "starting",
  run: "running", stop: "stopping", close: "closing files", done: "done",
};
const FIRST_OPEN = 6;
const $ = (id) => document.getElementById(id);

history.replaceState(null, "", location.pathname + location.hash); // the token stays in no address bar

const store = new Store(), moment = new Moment(), connection = new Connection(), panels = new Panels(changed);
const diagram = new Diagram($("diagram"), (name) => (panels.has(name) ? panels.close(name) : open(name)));
const log = new LogPanel(store);
$("logs").append(log.element);
const stepping = new SteppingPanel($("stepping"), (request) => connection.step(request));
const control = new ControlPanel($("control"), store, (command) => connection.act(command));
const latencies = new Map(); // stream of commands → its latency

// -- panels -----------------------------------------------------------------------------------

function panelOf(stream) {
  const metadata = store.metadata[stream.name];
  if (stream.type === "Frame") return new PicturePanel(stream, moment, (name) => connection.shown(name));
  if (stream.type === "TableRow" || stream.type === "ControlCommand") return new RowsPanel(stream, metadata);
  const tracks = new TracksPanel(stream, moment, metadata);
  if (latencies.has(stream.name)) tracks.body.append(latencies.get(stream.name).element);
  return tracks;
}

function open(name) {
  const stream = store.streams.get(name);
  if (stream && !panels.has(name)) panels.open(name, panelOf(stream));
}

function changed() {
  diagram.setOpen(new Set(panels.keys()));
  watchPictures();
  const hash = panels.size ? `#${[...panels.keys()].map(encodeURIComponent).join(",")}` : "#none";
  history.replaceState(null, "", hash);
  if (store.bench) localStorage.setItem(`mlink ${store.bench.path}`, location.hash);
}

let watched = "";
function watchPictures() {
  const wanted = {};
  for (const [name, panel] of panels) if (panel instanceof PicturePanel) wanted[name] = panel.width;
  const text = JSON.stringify(wanted);
  if (text !== watched) connection.watch(wanted);
  watched = text;
}

/** What is open at first: the link's streams, those of the last visit, or the first ones. */
function openFirst() {
  const hash = location.hash || localStorage.getItem(`mlink ${store.bench.path}`) || "";
  if (hash === "#none") return;
  const asked = hash.slice(1).split(",").filter(Boolean).map(decodeURIComponent);
  const order = { Frame: 0, LineReading: 1, LineCommand: 2, TableRow: 3 };
  const taken = new Set(store.bench.modules.flatMap((module) => module.inputs.map((input) => input.source)));
  const all = [...store.streams.values()].filter((stream) => taken.has(stream.name)).sort((a, b) => (order[a.type] ?? 2) - (order[b.type] ?? 2));
  const names = asked.length ? asked : all.slice(0, FIRST_OPEN).map((stream) => stream.name);
  names.forEach(open);
}

// -- what the run sends -----------------------------------------------------------------------

function rebuild() {
  const { bench } = store;
  if (!bench) return;
  $("name").textContent = bench.name;
  document.title = `${bench.name} – mlink`;
  diagram.build(bench);
  log.setModules(bench.modules.map((module) => module.name));
  log.refresh();
  control.build();
  findLoops();
  const before = [...panels.keys()];
  before.forEach((name) => panels.close(name));
  if (before.length) before.forEach(open);
  else openFirst();
  $("stop").hidden = store.role !== "owner";
  $("home").hidden = !store.folder;
  if (store.ended || store.lostContact) connection.end();
  showStatus();
  showSteps();
  showEnd();
}

function showSteps() {
  showPhase(); // time stands still on the charts too
  stepping.show(store.stood, store.role, !(store.ended || store.lostContact));
}

/** Commands to lines whose sender takes readings or other items with a time are the end of a loop. */
function findLoops() {
  for (const module of store.bench.modules) {
    const sources = module.inputs.map((input) => store.streams.get(input.source)).filter((each) => each?.type === "LineReading");
    for (const port of module.outputs) {
      const name = `${module.name}.${port.id}`;
      if (port.data_type !== "LineCommand" || !sources.length || latencies.has(name)) continue;
      const stream = store.streams.get(name), latency = new Latency(sources);
      latencies.set(name, latency);
      latency.take(stream.rows.map((row) => row.time));
    }
  }
}

function showStatus() {
  const { status, ended, bench } = store;
  if (!status || !bench) return;
  diagram.update(ended ? { streams: ended.streams, modules: {} } : status);
  const streams = (ended ?? status).streams;
  const lost = streams.reduce((sum, stream) => sum + stream.subscriptions.reduce((n, each) => n + each.lost, 0), 0);
  const length = bench.duration_s ? ` of ${clock(bench.duration_s)}` : "";
  $("elapsed").textContent = `${clock(ended ? ended.duration_s : status.elapsed_s)}${length}${bench.time === "virtual" ? " (virtual)" : ""}`;
  $("lost").textContent = lost ? `${count(lost)} lost` : "nothing lost";
  $("lost").className = `badge ${lost ? "bad" : ""}`;
  showPhase();
}

function showPhase() {
  const badge = $("phase"), { ended, status, lostContact } = store;
  let text = PHASES[status?.phase] ?? "connecting", kind = status?.phase === "run" ? "good" : "";
  if (ended) [text, kind] = ended.success ? ["completed", "good"] : ["failed", "bad"];
  else if (lostContact) [text, kind] = ["the run is gone", "bad"];
  else if (connection.state === "stalled") [text, kind] = ["nothing arrives", "warn"];
  else if (connection.state === "lost") [text, kind] = ["connection lost", "warn"];
  else if (connection.state === "refused") [text, kind] = ["not allowed", "bad"];
  badge.textContent = text;
  badge.className = `badge ${kind}`;
  moment.running = !ended && !lostContact && connection.state === "open" && status?.phase === "run" && !store.stood?.stands;
  $("stop").disabled = Boolean(ended || lostContact);
}

/** Where the run was recorded, as a link where this page can open it. */
function recorded({ recording }) {
  if (!recording) return null;
  const below = `${store.folder}/`;
  if (!store.folder || !recording.startsWith(below)) return `Recorded in ${recording}`;
  const path = recording.slice(below.length);
  return make("a", { href: `/recording?of=${encodeURIComponent(path)}` }, `Open the recording ${path}`);
}

function headline(kind, title, ...texts) {
  const box = $("failure");
  box.className = kind;
  box.hidden = !title;
  box.replaceChildren(make("h2", {}, title ?? ""), ...texts.filter(Boolean).map((text) => make("p", {}, text)));
}

function showEnd() {
  const { ended, lostContact } = store;
  if (ended && !ended.success) {
    const texts = ended.failures.flatMap((each) => [
      `${each.module ? `${each.module} (${each.phase}): ` : ""}${each.message}`, each.remedy && `→ ${each.remedy}`,
    ]);
    headline("", "The run failed", ...texts, recorded(ended));
  } else if (ended) {
    headline("ended", `The run completed${ended.stop_reason ? ` (${ended.stop_reason})` : ""}`,
      ...ended.hints.map((hint) => `Hint: ${hint}`), recorded(ended));
  } else if (lostContact) {
    headline("", "The run is gone", "Its process ended without a word: it was killed, or the computer ran out of memory.");
  } else if (connection.state === "refused") {
    headline("", "This page may not see the run", "Open the address that the terminal shows, with its token.");
  } else if (connection.state === "lost") {
    headline("away", "The connection is lost", "The computer of the run cannot be reached, or mlink has ended. What is below is the last that came.");
  } else if (connection.state === "stalled") {
    headline("away", "Nothing has arrived for 2 s", "The network or the computer of the run is overloaded. What is below is the last that came.");
  } else headline("", null);
}

connection.addEventListener("message", ({ detail }) => {
  if (detail.kind === "Picture") {
    const panel = panels.get(detail.stream);
    if (panel instanceof PicturePanel) panel.show(detail);
  } else store.take(detail);
});
connection.addEventListener("state", () => {
  showPhase();
  showEnd();
});
store.addEventListener("Welcome", rebuild);
store.addEventListener("Begins", rebuild);
store.addEventListener("FeedBegins", rebuild);
store.addEventListener("Status", ({ detail }) => {
  if (detail.phase === "run") moment.setPresent(detail.elapsed_s * 1e6);
  showStatus();
});
store.addEventListener("Stood", showSteps);
store.addEventListener("Looked", ({ detail }) => stepping.showChip(detail));
store.addEventListener("Batch", ({ detail }) => {
  moment.setPresent(detail.time_usec);
  for (const { stream, columns } of detail.items) if (columns?.time_usec) latencies.get(stream)?.take(columns.time_usec);
});
store.addEventListener("Acted", ({ detail }) => control.add(detail));
store.addEventListener("Log", ({ detail }) => log.add(detail.lines));
for (const end of ["Ended", "Gone"])
  store.addEventListener(end, () => {
    connection.end();
    showStatus();
    showSteps();
    showEnd();
  });

// -- what the person does ---------------------------------------------------------------------

$("live").addEventListener("click", () => moment.live());
wireTheme($("theme"), () => {
  panels.restyle();
  for (const latency of latencies.values()) latency.draw();
});
$("link").addEventListener("click", async () => {
  const link = `${location.origin}${location.pathname}?token=${store.guestToken}${location.hash}`;
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  $("link").textContent = copied ? "Copied" : "Copy link";
  if (!copied) headline("ended", "A link to this page, to look only", link);
});
$("stop").addEventListener("click", () => connection.stopRun());
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = {
    l: () => moment.live(), L: () => moment.live(), "+": () => moment.zoom(0.5, 1), "-": () => moment.zoom(2, 1),
    ArrowLeft: () => moment.pan(-moment.length / 10), ArrowRight: () => moment.pan(moment.length / 10),
  };
  acts[event.key]?.();
});

let drawn = 0;
function frame(now) {
  if (now - drawn > 60 && !document.hidden) {
    drawn = now;
    $("live").setAttribute("aria-pressed", String(moment.isLive));
    panels.update();
    control.update(moment.running);
    watchPictures();
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
connection.start();
