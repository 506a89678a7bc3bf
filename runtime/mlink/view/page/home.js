// The page of a folder: benches to start, runs that last, recordings, devices, and this computer.

import { ask } from "./ask.js";
import { clock, count, make } from "./format.js";
import { wireTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const given = new URLSearchParams(location.search);
if (given.has("token")) history.replaceState(null, "", "/"); // it stays in no address bar
let role = "guest", deviceFiles = [], shownRuns = "", lasting = 0;
const checks = new Map(); // bench → what its check has found

const home = (path, options) => ask(`/home/${path}`, options);
const post = (path, body) => home(path, { method: "POST", body: JSON.stringify(body) });

function headline(text) {
  $("failure").hidden = !text;
  $("failure").replaceChildren(make("p", {}, text));
}

/** Fills a section; what fails is written in it. */
async function fill(id, title, path, draw) {
  const box = $(id);
  if (!box.childElementCount) box.replaceChildren(make("h2", {}, title), make("p", { class: "note" }, "looking …"));
  try {
    box.replaceChildren(make("h2", {}, title), ...draw(await home(path)));
  } catch (error) {
    box.replaceChildren(make("h2", {}, title), make("p", { class: "note bad" }, error.message));
  }
}

const note = (text, kind = "") => make("p", { class: `note ${kind}` }, text);
const badge = (text, kind = "") => make("span", { class: `badge ${kind}` }, text);

// -- benches ------------------------------------------------------------------------------------

function form(bench) {
  const labelled = (label, input) => make("label", {}, make("span", {}, label), input);
  const field = (label, attributes) => labelled(label, make("input", attributes));
  const seconds = field("duration in s", { name: "for", type: "number", min: "0.1", step: "any", placeholder: "until stopped" });
  const subject = field("subject", { name: "subject", maxlength: 200 });
  const settings = field("settings", { name: "settings", placeholder: "cam.framerate=60, one by one with ;" });
  const own = make("option", { value: "" }, "those of the bench");
  const devices = labelled("devices", make("select", { name: "devices" }, own, ...deviceFiles.map((path) => make("option", { value: path }, path))));
  const control = make("label", { class: "check" }, make("input", { name: "control", type: "checkbox" }), make("span", {}, "command its modules from the page"));
  const start = make("button", { type: "submit" }, "Start");
  const box = make("form", { "aria-label": `start ${bench}` }, seconds, subject, settings, ...(deviceFiles.length ? [devices] : []), control, start);
  box.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = new FormData(box);
    const body = { bench, for_s: values.get("for") ? Number(values.get("for")) : null, subject: values.get("subject").trim(), settings: values.get("settings").split(";").map((each) => each.trim()).filter(Boolean), devices: values.get("devices") ?? "", control: values.has("control") };
    try {
      const { number } = await post("start", body);
      headline("");
      await look();
      document.querySelector(`[aria-label="run ${number}"] a`)?.focus();
    } catch (error) {
      headline(error.message);
    }
  });
  return box;
}

function benchRow(bench) {
  const state = make("span", {}, badge("checking …")), text = make("pre", { class: "note", tabindex: 0, "aria-label": `what the check of ${bench} has found` }, "");
  checks.set(bench, ({ ok, text: found }) => {
    state.replaceChildren(badge(ok ? "good" : "has errors", ok ? "good" : "bad"));
    text.textContent = found;
  });
  return make("details", {}, make("summary", {}, make("b", {}, bench), state), ...(role === "owner" ? [form(bench)] : []), text);
}

async function lookAtBenches() {
  await fill("benches", "Benches", "benches", ({ folder, role: mine, benches, devices, left }) => {
    role = mine;
    deviceFiles = devices;
    $("folder").textContent = folder;
    checks.clear();
    const rows = benches.length ? benches.map(benchRow) : [note("There is no bench below this folder: mlink new script NAME makes one.")];
    return left ? [...rows, note(left)] : rows;
  });
  for (const [bench, show] of checks) {
    try {
      show(await home(`check?bench=${encodeURIComponent(bench)}`));
    } catch (error) {
      show({ ok: false, text: error.message });
    }
  }
}

// -- runs ---------------------------------------------------------------------------------------

function runRow(run) {
  const lasts = run.code === null, kind = lasts ? "" : run.code === 0 ? "good" : "bad";
  const state = lasts ? (run.watched ? "lasts" : "starting") : run.code === 0 ? "completed" : "failed";
  const watch = lasts || run.watched ? [make("a", { href: `/run/${run.number}`, "aria-label": `watch run ${run.number}` }, lasts ? "Watch" : "Look back")] : [];
  const stop = lasts && role === "owner" ? [make("button", { type: "button", class: "danger", "aria-label": `stop run ${run.number}`, onclick: () => post("stop", { number: run.number }).catch((error) => headline(error.message)) }, "Stop")] : [];
  return make("article", { "aria-label": `run ${run.number}` }, make("div", { class: "line" }, make("b", {}, `${run.number}. ${run.bench}`), badge(state, kind), ...watch, ...stop),
    make("pre", { class: "note", tabindex: 0, "aria-label": `output of run ${run.number}` }, run.lines.slice(lasts ? -3 : -12).join("\n")));
}

async function look() {
  const runs = await home("runs"), text = JSON.stringify(runs), now = runs.filter((each) => each.code === null).length;
  if (text !== shownRuns) {
    $("runs").hidden = !runs.length;
    $("runs").replaceChildren(make("h2", {}, "Runs"), ...runs.map(runRow));
  }
  shownRuns = text;
  if (now < lasting) lookAtRecordings();
  lasting = now;
}

// -- the others -----------------------------------------------------------------------------------

/** Offers the two recordings that are checked side by side. */
function choose() {
  const chosen = [...$("recordings").querySelectorAll("input:checked")].map((each) => each.value);
  const link = make("a", { href: `/beside?${new URLSearchParams(chosen.map((path) => ["of", path]))}` }, "See both side by side");
  $("recordings").querySelector("p").replaceChildren(chosen.length === 2 ? link : `${chosen.length} of 2 checked`);
}

function lookAtRecordings() {
  return fill("recordings", "Recordings", "list/recordings", (found) => {
    if (!found.length) return [note("There is no recording below this folder.")];
    const kinds = { completed: "good", failed: "bad" };
    const rows = found.map((each) => make("tr", {},
      make("td", { class: "choice" }, make("input", { type: "checkbox", value: each.path, "aria-label": `${each.path} side by side`, onchange: choose })),
      make("td", {}, make("a", { href: `/recording?of=${encodeURIComponent(each.path)}` }, each.path)),
      make("td", {}, each.time_created.slice(0, 19).replace("T", " ")),
      make("td", { class: "right" }, each.length_s === null ? "–" : clock(each.length_s)),
      make("td", {}, badge(each.result, kinds[each.result] ?? "warn"), each.reason ? note(each.reason.split("\n")[0]) : ""),
      make("td", { class: each.lost ? "right bad" : "right" }, each.lost === null ? "–" : count(each.lost))));
    const titles = ["recording", "created", "length", "result", "lost"].map((title) => make("th", { scope: "col", class: title === "length" || title === "lost" ? "right" : "" }, title));
    titles.unshift(make("td", {}));
    return [note("Check two of them to see them side by side."), make("div", { class: "rows", tabindex: 0, role: "region", "aria-label": "table of recordings" }, make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows)))];
  });
}

function lookAtTheRest() {
  fill("devices", "Devices", "list/devices", ({ devices, problems }) => [
    ...devices.map((each) => make("div", { class: "line" }, make("code", {}, each.address), make("span", {}, each.name), each.problem ? note(`${each.problem} ${each.remedy ? `→ ${each.remedy}` : ""}`, "bad") : "")),
    ...problems.map((text) => note(text, "bad"))]);
  fill("doctor", "This computer", "list/doctor", ({ findings }) => findings.map((each) => {
    const kind = { good: "good", better: "warn", bad: "bad" }[each.state];
    return make("div", { class: "line" }, badge(each.state, kind), make("b", {}, each.check), make("span", {}, each.found), each.remedy ? make("pre", { class: "note", tabindex: 0, "aria-label": `remedy of ${each.check}` }, each.remedy) : "");
  }));
}

function lookAgain() {
  headline("");
  lookAtBenches();
  lookAtRecordings();
  lookAtTheRest();
}

wireTheme($("theme"));
$("reload").addEventListener("click", lookAgain);
lookAgain();
(async () => {
  for (let lost = false; ; await new Promise((done) => setTimeout(done, 1000))) {
    try {
      await look();
      if (lost) headline("");
      lost = false;
    } catch (error) {
      headline(error.message);
      lost = true;
    }
  }
})();
