// Clicks, boxes and keys on the picture; places are sent in its own pixels, with the slice that was seen.
const FAR = 5; // pixels of the screen; a shorter way of the pointer is a click
const drawing = () => element.querySelector("svg.drawing");
const stage = () => element.querySelector(".stage");
let start = null; // where the pointer went down
let cross = null; // of the keyboard, as shares of width and height
let corner = null; // of a box that is drawn by keys

function share(event) {
  const svg = drawing(), box = svg.viewBox.baseVal;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [Math.min(Math.max(at.x / box.width, 0), 1), Math.min(Math.max(at.y / box.height, 0), 1)];
}
function pixel([x, y]) {
  const { columns, rows } = drawing().dataset;
  return [x * columns - 0.5, y * rows - 0.5];
}
function shape(name, kind) {
  const svg = drawing();
  let found = svg.querySelector("." + name);
  if (!found) {
    found = document.createElementNS("http://www.w3.org/2000/svg", kind);
    found.setAttribute("class", name);
    svg.appendChild(found);
  }
  return found;
}
function rubber(first, last) {
  const box = drawing().viewBox.baseVal, rect = shape("rubber", "rect");
  rect.setAttribute("x", Math.min(first[0], last[0]) * box.width);
  rect.setAttribute("y", Math.min(first[1], last[1]) * box.height);
  rect.setAttribute("width", Math.abs(first[0] - last[0]) * box.width);
  rect.setAttribute("height", Math.abs(first[1] - last[1]) * box.height);
}
function spot(at, name) {
  const box = drawing().viewBox.baseVal;
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("class", name);
  path.setAttribute("d", `M${at[0] * box.width} ${at[1] * box.height}h0`);
  drawing().appendChild(path);
}
function seen() {
  const { slice, plane } = drawing().dataset;
  return { slice: Number(slice), plane };
}
// What is drawn while an answer is awaited is kept, and sent together when it comes: many clicks are few requests.
const PATIENCE = 2000; // milliseconds, for an answer that does not come
let waiting = [], sentAt = -PATIENCE;
function send(mark, at) {
  waiting.push({ mark, at });
  if (at) spot(at, `${mark.inside ? "inside" : "outside"} dot sent`);
  setTimeout(flush, performance.now() - sentAt < PATIENCE ? PATIENCE : 0);
}
function flush() {
  if (!waiting.length || performance.now() - sentAt < PATIENCE) return;
  sentAt = performance.now();
  trigger("select", { kind: "marks", marks: waiting.splice(0).map((one) => one.mark) });
}
function answered() {
  sentAt = -PATIENCE;
  waiting.forEach(({ mark, at }) => { if (at && drawing()) spot(at, `${mark.inside ? "inside" : "outside"} dot sent`); });
  flush();
}
function click(at, inside) {
  const [x, y] = pixel(at);
  send({ x, y, inside, ...seen() }, at);
}
function box(first, last) {
  const [x, y] = pixel(first), [right, bottom] = pixel(last);
  send({ x, y, right, bottom, ...seen() }, null);
}
function step(by) {
  trigger("select", { kind: "step", by, ...seen() });
}
const inside = (event) => !(event.shiftKey || event.button === 2 || document.body.dataset.tool === "outside");

element.addEventListener("pointerdown", (event) => {
  if (!drawing() || !event.target.closest("svg.drawing") || event.button === 1) return;
  start = { at: share(event), x: event.clientX, y: event.clientY, drawn: false };
  stage().focus({ preventScroll: true });
  event.preventDefault();
});
element.addEventListener("pointermove", (event) => {
  if (!start || !drawing()) return;
  if (Math.hypot(event.clientX - start.x, event.clientY - start.y) > FAR) start.drawn = true;
  if (start.drawn) rubber(start.at, share(event));
});
window.addEventListener("pointerup", (event) => {
  if (!start || !drawing()) return;
  const begun = start;
  start = null;
  if (begun.drawn) box(begun.at, share(event));
  else if (document.body.dataset.tool !== "box") click(begun.at, inside(event));
});
window.addEventListener("pointercancel", () => { start = null; });
element.addEventListener("contextmenu", (event) => { if (event.target.closest("svg.drawing")) event.preventDefault(); });

function showCross() {
  const view = drawing().viewBox.baseVal, path = shape("cross", "path");
  const [x, y] = [cross[0] * view.width, cross[1] * view.height];
  path.setAttribute("d", `M${x} 0V${view.height}M0 ${y}H${view.width}`);
  if (corner) rubber(corner, cross);
}
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
element.addEventListener("keydown", (event) => {
  if (!drawing() || event.target !== stage() || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key;
  if (key in MOVES) {
    const by = event.shiftKey ? 0.05 : 0.01, [x, y] = cross || [0.5, 0.5];
    cross = cross ? [x + by * MOVES[key][0], y + by * MOVES[key][1]].map((v) => Math.min(Math.max(v, 0), 1)) : [x, y];
    showCross();
  } else if (key === "PageUp" || key === "PageDown") {
    step(key === "PageUp" ? 1 : -1);
  } else if (!cross) {
    return;
  } else if (key === "Enter" || key === " ") {
    if (corner) { box(corner, cross); corner = null; } else click(cross, document.body.dataset.tool !== "outside");
  } else if (key === "o" || key === "O") {
    click(cross, false);
  } else if (key === "b" || key === "B") {
    if (corner) { box(corner, cross); corner = null; } else { corner = cross; showCross(); }
  } else if (key === "Escape") {
    cross = corner = null;
    drawing().querySelectorAll(".cross, .rubber").forEach((one) => one.remove());
  } else {
    return;
  }
  event.preventDefault();
});
watch("value", answered);
watch("value", () => { if (drawing() && cross && document.activeElement === stage()) showCross(); });
