// The page: what is open, what is shown, and which key does what.
import { ask, AWAY, listen, Queue } from "./api.js";
import { curve } from "./spline.js";
import { Hand } from "./tools.js";
import { toPixel, Viewer } from "./view.js";

const $ = (id) => document.getElementById(id);
const viewer = new Viewer("map");
const hand = new Hand(viewer, give);
viewer.map.addInteraction(hand);
const now = { index: 0, revision: 0, images: [], work: [], at: -1, changes: 0 };

const KEYS = [
  ["M", "select, move anchors", () => hand.choose("move")],
  ["P", "outline: click points; first point or Enter closes, Esc cancels", () => hand.choose("outline")],
  ["O", "ellipse: drag it out", () => hand.choose("ellipse")],
  ["R", "finished rectangle: in it every nucleus is outlined", () => hand.choose("region")],
  ["W", "the whole image is finished, or not", () => give({ do: "whole" })],
  ["C", "cut a nucleus along a dragged line", () => hand.choose("cut")],
  ["G", "merge the selected nuclei", () => give({ do: "merge", ids: chosen() })],
  ["Enter", "close the outline; accept the selected proposals", enter],
  ["Shift+Enter", "accept all proposals above the score", acceptAbove],
  ["Delete", "delete the selected nuclei, reject the selected proposals", remove],
  ["Backspace", "drop the last point; else as Delete", () =>
    hand.drawn.length ? hand.dropPoint() : remove()],
  ["Escape", "cancel; select nothing", escape],
  ["Tab", "next in the work list", () => next(1)],
  ["Shift+Tab", "the one before", () => next(-1)],
  ["T", "train", train],
  ["Ctrl+Z", "undo", () => give({ do: "undo" })],
  ["Ctrl+Shift+Z", "redo", () => give({ do: "redo" })],
  ["Ctrl+Y", "redo", () => give({ do: "redo" })],
  ["Ctrl+S", "everything is saved already", () => say("already saved")],
  ["ArrowRight", "next image", () => open(now.index + 1)],
  ["ArrowLeft", "image before", () => open(now.index - 1)],
  ["X", "show or hide everything", () => toggle("all")],
  ["Z", "outlines on or off", () => toggle("outlines")],
  ["F", "fill on or off", () => toggle("fill")],
  ["H", "this help", help],
  ["?", "this help", help],
];
const MOUSE = [
  ["wheel", "zoom"], ["drag, or Space and drag", "pan"], ["double click", "whole image"],
  ["right click", "begin an outline"], ["click", "select; with Shift several"],
  ["Shift+drag", "select all in a rectangle"], ["Ctrl+click", "delete or reject"],
  ["drag on the curve", "insert an anchor there"], ["Alt+click", "delete an anchor"],
  ["drag the blue square", "move the nucleus"],
];

const { project } = await ask("/api/images");
const queue = new Queue(project, {
  onAnswer(index, answer) {
    if (index === now.index) changed(answer);
    else refreshList();
  },
  onRefused(index, error) {
    say(error.message);
    if (error.status === 409 && index === now.index) load(index, error.content);
    else viewer.select([...viewer.selected]);
  },
  onState: (problem) => banner("queue", problem),
});

function give(command) {
  if (command.ids && !command.ids.length) return say("nothing is selected");
  queue.add(now.index, command, now.revision);
}

const chosen = () => [...viewer.selected];

// -- what the server says

function changed({ change, revision, undo, redo, state }) {
  now.changes++;
  now.revision = Math.max(now.revision, revision);
  const had = new Set(viewer.things.keys());
  viewer.put(change);
  const fresh = change.filter(([id, , after]) => after?.kind === "nucleus" && !had.has(id));
  if (fresh.length === 1) viewer.select([fresh[0][0]]);
  $("undo").disabled = !undo;
  $("redo").disabled = !redo;
  count(state);
  later(listWork);
}

/** The counts of the open image, from what is on the page. */
function count(state) {
  const entry = now.images[now.index];
  const things = [...viewer.things.values()];
  entry.labelled = things.filter((one) => one.kind === "nucleus" && one.state === "labelled").length;
  entry.proposed = things.filter((one) => one.state === "proposed").length;
  entry.state = state;
  showList();
}

function load(index, content) {
  now.revision = content.revision;
  viewer.replace(content.things);
  $("undo").disabled = !content.undo;
  $("redo").disabled = !content.redo;
  count(content.state);
  listWork();
}

/** All that lies on an image; asked for again if it was changed while the answer came. */
async function picture(index) {
  for (;;) {
    const before = now.changes;
    const content = await ask(`/api/images/${index}`);
    if (before === now.changes) return content;
  }
}

async function open(index) {
  if (!now.images[index]) return;
  hand.cancel();
  now.index = index;
  now.at = -1;
  const content = await picture(index);
  if (index !== now.index) return; // another one was opened meanwhile
  location.hash = index;
  viewer.selected = new Set();
  viewer.open(index, content.size, content.tiles);
  contrast(content.tiles);
  load(index, content);
}

async function refreshList() {
  const content = await ask("/api/images");
  now.images = content.images;
  document.title = `${content.folder} - nucleist`;
  disk(content.problems);
  showRound(content.round);
  showList();
}

async function reload() {
  await refreshList();
  const index = now.index;
  const content = await picture(index);
  if (index === now.index) load(index, content);
}

const stream = listen({
  change(event) {
    if (event.index === now.index) changed(event);
    else refreshList();
  },
  problems: ({ problems }) => disk(problems),
  round: showRound,
  reload,
  reset: reload,
});
stream.addEventListener("open", () => banner("stream", ""));
stream.addEventListener("error", () => {
  banner("stream", AWAY);
});

// -- panels

function showList() {
  $("images").replaceChildren(...now.images.map((entry, index) => {
    const row = document.createElement("li");
    row.className = `${entry.state} ${index === now.index ? "open" : ""}`;
    const waiting = entry.proposed ? ` + ${entry.proposed}?` : "";
    row.append(text("span", entry.name), text("small", `${entry.labelled}${waiting}`));
    row.title = `${entry.state}: ${entry.labelled} outlined, ${entry.proposed} proposed`;
    row.onclick = () => open(index);
    return row;
  }));
}

function text(tag, words) {
  const made = document.createElement(tag);
  made.textContent = words;
  return made;
}

async function listWork() {
  const index = now.index;
  const found = await ask(`/api/images/${index}/work?threshold=${viewer.shown.threshold}`);
  if (index !== now.index) return;
  now.work = found;
  $("work").replaceChildren(...found.slice(0, 30).map((item, at) => {
    const row = text("li", item.reason);
    row.onclick = () => look(at);
    row.dataset.id = item.id;
    return row;
  }));
  viewer.onSelect();
  $("left").textContent = found.length ? `${found.length} to look at` : "nothing to look at";
}

function look(at) {
  const item = now.work[at];
  if (!item || !viewer.things.has(item.id)) return;
  now.at = at;
  viewer.select([item.id]);
  viewer.goto(item.id);
  say(item.reason);
}

function next(step) {
  if (!now.work.length) return say("nothing to look at");
  const here = now.work.findIndex((item) => viewer.selected.has(item.id));
  const at = here >= 0 ? here + step : Math.max(now.at, 0);
  look((at + now.work.length) % now.work.length);
}

function showRound(round) {
  const going = ["starting", "training", "proposing"].includes(round.phase);
  $("train").hidden = going;
  $("cancel").hidden = !going;
  $("progress").hidden = !going;
  $("progress").max = round.steps || 1;
  $("progress").value = round.step || 0;
  const phase = round.phase === "collected" ? "done" : round.phase;
  const words = [`round ${round.number}: ${phase}`];
  if (going && round.steps) words.push(`${round.step} of ${round.steps}`);
  if (going && round.seconds_left) words.push(`${Math.ceil(round.seconds_left / 6) / 10} min left`);
  if (round.score != null) words.push(`${round.score.toFixed(2)} ${round.score_of}`);
  if (round.proposals != null) words.push(`${round.proposals} proposals`);
  if (round.error) words.push(round.error);
  $("round").textContent = round.number ? words.join(", ") : "not trained yet";
}

async function train() {
  try {
    const body = { steps: Number($("steps").value), anew: $("anew").checked };
    showRound(await ask("/api/train", body));
  } catch (error) {
    say(error.message);
  }
}

viewer.onSelect = () => {
  for (const row of $("work").children)
    row.classList.toggle("open", viewer.selected.has(row.dataset.id));
};

let drawing;
function contrast(tiles) {
  for (const end of ["low", "high"]) {
    Object.assign($(end), { min: 0, max: tiles.top, step: tiles.top > 300 ? 1 : tiles.top / 255 });
    $(end).value = tiles[end];
  }
  $("channel").value = "";
  $("channel").hidden = tiles.gray;
  now.auto = tiles;
  windowed();
}

function windowed() {
  viewer.window({ low: $("low").value, high: $("high").value, channel: $("channel").value });
}

function threshold() {
  viewer.show({ threshold: Number($("score").value) });
  $("shown").textContent = viewer.shown.threshold.toFixed(2);
  later(listWork);
}

let waiting;
function later(what) {
  clearTimeout(waiting);
  waiting = setTimeout(what, 200);
}

const banners = {};
function banner(kind, words) {
  banners[kind] = words;
  const shown = [...new Set(Object.values(banners).filter(Boolean))];
  $("banner").textContent = shown.join("; ");
  $("banner").hidden = !shown.length;
}

/** What is not on the disk; a queue that was told so by an answer may be right again by now. */
function disk(problems) {
  if (!problems.length) banner("queue", "");
  const words = problems.map((one) => `Not saved, will be tried again: ${one}`);
  banner("disk", words.join("; "));
}

let saying;
function say(words) {
  $("say").textContent = words;
  $("say").classList.add("shown");
  clearTimeout(saying);
  saying = setTimeout(() => $("say").classList.remove("shown"), 3000);
}

// -- what keys do

function enter() {
  if (hand.drawn.length) return hand.close();
  give({ do: "accept", ids: chosen() });
}

function acceptAbove() {
  give({ do: "accept_above", score: viewer.shown.threshold });
}

function remove() {
  hand.remove(chosen().map((id) => viewer.things.get(id)));
}

function escape() {
  $("help").close();
  hand.cancel();
  hand.choose("move");
  viewer.select([]);
}

function toggle(what) {
  viewer.show({ [what]: !viewer.shown[what] });
}

function help() {
  $("help").showModal();
}

const rows = (pairs) => pairs.map(([name, words]) => {
  const row = document.createElement("tr");
  row.append(text("th", name), text("td", words));
  return row;
});
$("keys").replaceChildren(...rows(KEYS));
$("mouse").replaceChildren(...rows(MOUSE));

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.shiftKey && (key.length > 1 || parts.length)) parts.push("Shift");
  return [...parts, key].join("+");
}

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=number], select") && event.key !== "Escape") return;
  if (event.key === " ") {
    hand.space = true;
    return event.preventDefault();
  }
  const found = KEYS.find(([name]) => name === nameOf(event));
  if (!found || ($("help").open && found[2] !== help && found[0] !== "Escape")) return;
  event.preventDefault();
  found[2]();
});
document.addEventListener("keyup", (event) => {
  if (event.key === " ") hand.space = false;
});

for (const [id, act] of Object.entries({
  undo: () => give({ do: "undo" }), redo: () => give({ do: "redo" }), train, help_button: help,
  cancel: () => ask("/api/cancel", {}).then(showRound), accept: acceptAbove,
  whole: () => give({ do: "whole" }), fit: () => viewer.fit(),
})) $(id).onclick = act;
for (const tool of document.querySelectorAll("[data-choose]"))
  tool.onclick = () => hand.choose(tool.dataset.choose);
for (const link of document.querySelectorAll("[data-export]"))
  link.onclick = () => { location.href = `/api/images/${now.index}/export/${link.dataset.export}`; };
$("score").oninput = threshold;
for (const id of ["low", "high", "channel"])
  $(id).oninput = () => { clearTimeout(drawing); drawing = setTimeout(windowed, 100); };
$("auto").onclick = () => contrast(now.auto);
hand.onTool = (tool) => {
  for (const one of document.querySelectorAll("[data-choose]"))
    one.classList.toggle("open", one.dataset.choose === tool);
};
hand.choose("move");

// For the tests in a browser, which have no other way to know where a pixel is on the screen.
window.nucleist = { viewer, hand, now, queue, curve,
  onScreen: ([x, y]) => viewer.map.getPixelFromCoordinate([x, -y]), toPixel };

await refreshList();
await open(Math.min(Number(location.hash.slice(1)) || 0, now.images.length - 1));
threshold();
queue.send(); // what an earlier page could not
window.nucleist.ready = true;
