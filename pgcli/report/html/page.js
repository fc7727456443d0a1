"use strict";

// Safari plays no data: URL, but the same bytes as a blob
for (const video of document.querySelectorAll("video")) {
  const [head, data] = video.src.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const type = head.slice("data:".length, head.indexOf(";"));
  video.src = URL.createObjectURL(new Blob([bytes], { type }));
}

const MOST = 12; // lines of a tip
const figures = JSON.parse(document.getElementById("figures").textContent);

function text(value) {
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  if (Math.abs(value) < 1e-3) return value.toPrecision(4);
  return value.toLocaleString("en-US", { maximumSignificantDigits: 6 });
}

function make(name, css, ...content) {
  const element = document.createElement(name);
  element.className = css;
  element.append(...content);
  return element;
}

function swatch(color) {
  return `c${color % 7}` + (Math.floor(color / 7) % 2 ? " dashed" : "");
}

// Index of the number nearest to `x` in an ascending list.
function nearest(list, x) {
  let low = 0, high = list.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] < x) low = middle; else high = middle;
  }
  return x - list[low] < list[high] - x ? low : high;
}

function connect(figure) {
  const { title, x: [left, right], y: [bottom, top], curves } = figures[figure.dataset.figure];
  const area = figure.querySelector(".area");
  const [cursor, tip] = [area.querySelector(".cursor"), area.querySelector(".tip")];
  const section = figure.closest("section");
  let at = null;

  const visible = () => curves.filter(({ color }) =>
    !section.querySelector(`button[data-color="${color}"][aria-pressed="false"]`));
  const across = (x) => `${((x - left) / (right - left)) * 100}%`;
  const up = (y) => `${((y - bottom) / (top - bottom)) * 100}%`;

  function hide() {
    at = null;
    cursor.hidden = tip.hidden = true;
    for (const dot of area.querySelectorAll(".dot")) dot.remove();
  }

  // The points nearest to `x`; with many curves, those nearest to the height `y`, which
  // is null for the keyboard.
  function show(x, y) {
    hide();
    const reach = (right - left) / 40;
    let points = visible().map((curve) => ({ ...curve, i: nearest(curve.x, x) }));
    if (!points.length) return;
    // of the curve at the pointer; the keyboard gives the place of a point
    const away = ({ x: xs, y: ys, i }) => (y === null ? Math.abs(xs[i] - x) : Math.abs(ys[i] - y));
    const chosen = points.reduce((a, b) => (away(b) < away(a) ? b : a));
    at = chosen.x[chosen.i];
    points = points.map((point) => ({ ...point, i: nearest(point.x, at) }))
      .filter(({ x: list, i }) => Math.abs(list[i] - at) <= reach);
    const more = points.length - MOST;
    if (more > 0) {
      points.sort((a, b) => away(a) - away(b));
      points.length = MOST;
    }
    points.sort((a, b) => b.y[b.i] - a.y[a.i]);

    tip.replaceChildren(make("p", "", `${text(right - left > 50 ? Math.round(at) : at)} ${title}`));
    for (const { color, label, i, y: ys, low, high } of points) {
      const band = low && low[i] !== null ? ` [${text(low[i])}, ${text(high[i])}]` : "";
      const name = curves.length > 1 ? `${label} ` : "";
      tip.append(make("p", "", make("i", swatch(color)), name, make("b", "", text(ys[i])), band));
      const dot = make("i", `dot ${swatch(color)}`);
      dot.style.left = across(at);
      dot.style.bottom = up(ys[i]);
      area.append(dot);
    }
    if (more > 0) tip.append(make("p", "", `and ${more} more`));
    cursor.style.left = across(at);
    cursor.hidden = tip.hidden = false;
    // on the side of the cursor with more room
    const share = (at - left) / (right - left);
    const room = area.clientWidth - tip.offsetWidth;
    const close = share < 0.5 ? share * area.clientWidth + 12 : share * area.clientWidth - tip.offsetWidth - 12;
    tip.style.left = `${Math.min(Math.max(close, 0), Math.max(room, 0))}px`;
  }

  function follow(event) {
    const box = area.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const height = (box.bottom - event.clientY) / box.height;
    show(left + share * (right - left), bottom + height * (top - bottom));
  }

  function move(event) {
    const steps = [...new Set(visible().flatMap(({ x }) => x))].sort((a, b) => a - b);
    const last = steps.length - 1;
    const now = at === null ? last + (event.key === "ArrowLeft" ? 1 : 0) : steps.indexOf(at);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") hide();
    if (to === undefined || last < 0) return;
    event.preventDefault();
    show(steps[Math.min(Math.max(to, 0), last)], null);
  }

  area.addEventListener("pointermove", follow);
  area.addEventListener("pointerdown", follow);
  area.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  figure.addEventListener("keydown", move);
  figure.addEventListener("blur", hide);
}

document.querySelectorAll("figure[data-figure]").forEach(connect);

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const off = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!off));
    for (const path of button.closest("section").querySelectorAll(`path[data-color="${button.dataset.color}"]`)) {
      path.toggleAttribute("hidden", off);
    }
  });
}
