"use strict";
// Draws the points of a map (8 bytes each: x, y, number of the label, trouble, state) on a canvas.
const show = (plane) => {
  const GONE = 2, FAR = 65535, ZOOM_MAX = 400, NEAR = 14, CROSS = 7;
  const colour = document.getElementById("colour");
  const only = document.getElementById("only");
  const brush = plane.getContext("2d", { willReadFrequently: true });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let x, y, label, trouble, state, order = new Uint32Array(0);
  let zoom = 1, left = 0.5, top = 0.5; // the centre of what is seen, 0 to 1
  let chosen = -1, seen = new Set();

  const side = () => Math.min(plane.width, plane.height) * 0.92 * zoom;
  const toX = (n) => plane.width / 2 + (x[n] / FAR - left) * side();
  const toY = (n) => plane.height / 2 + (y[n] / FAR - top) * side();

  const style = (name) => getComputedStyle(plane).getPropertyValue(name).trim();
  const rgb = (css) => {
    brush.fillStyle = css;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b] = brush.getImageData(0, 0, 1, 1).data;
    return (255 << 24) | (b << 16) | (g << 8) | r;
  };
  const faint = () => rgb(style("--line"));
  const hue = (n) => rgb(`hsl(${(n * 137.508) % 360} ${n % 2 ? 55 : 75}% ${dark.matches ? 65 : 42}%)`);

  // Which points are drawn, the ones to look at last, and the colours that they have.
  let paints = new Uint32Array(0);
  const paint = () => {
    const wanted = only.value === "" ? -1 : Number(only.value);
    const byTrouble = colour.value === "trouble";
    const hues = new Map(), grey = faint(), red = rgb(style("--wrong"));
    const behind = [], before = [];
    for (let n = 0; n < x.length; n++) {
      if (state[n] === GONE) continue;
      const shown = (wanted < 0 || label[n] === wanted) && (!byTrouble || trouble[n] > 0);
      if (!shown) paints[n] = grey;
      else if (byTrouble) paints[n] = red;
      else {
        if (!hues.has(label[n])) hues.set(label[n], hue(label[n]));
        paints[n] = hues.get(label[n]);
      }
      (shown ? before : behind).push(n);
    }
    order = Uint32Array.from([...behind, ...before]);
    draw();
  };

  let waiting = false;
  const draw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const { width, height } = plane;
      const image = brush.createImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      const scale = devicePixelRatio || 1;
      const radius = Math.min(1 + Math.log2(zoom) + (order.length < 5000 ? 2 : 0.5), 7) * scale;
      const spans = []; // of a disc, a row each
      for (let dy = -Math.floor(radius); dy <= radius; dy++) {
        spans.push([dy, Math.floor(Math.sqrt(radius * radius - dy * dy))]);
      }
      for (const n of order) {
        const cx = Math.round(toX(n)), cy = Math.round(toY(n));
        if (cx < -radius || cy < -radius || cx >= width + radius || cy >= height + radius) continue;
        for (const [dy, half] of spans) {
          const row = cy + dy;
          if (row < 0 || row >= height) continue;
          const from = Math.max(cx - half, 0), to = Math.min(cx + half + 1, width);
          if (from < to) pixels.fill(paints[n], row * width + from, row * width + to);
        }
      }
      brush.putImageData(image, 0, 0);
      brush.lineWidth = 2 * scale;
      brush.strokeStyle = style("--ink");
      if (chosen >= 0) {
        brush.beginPath();
        brush.arc(toX(chosen), toY(chosen), radius + 3 * scale, 0, 2 * Math.PI);
        brush.stroke();
      }
      if (document.activeElement === plane && plane.matches(":focus-visible")) {
        const cx = width / 2, cy = height / 2, arm = CROSS * scale;
        brush.lineWidth = scale;
        brush.beginPath();
        brush.moveTo(cx - arm, cy);
        brush.lineTo(cx + arm, cy);
        brush.moveTo(cx, cy - arm);
        brush.lineTo(cx, cy + arm);
        brush.stroke();
      }
    });
  };

  const nearest = (atX, atY, within, skip = new Set()) => {
    let found = -1, best = within * within;
    for (let at = order.length - 1; at >= 0; at--) {
      const n = order[at];
      const distance = (toX(n) - atX) ** 2 + (toY(n) - atY) ** 2;
      if (distance < best && !skip.has(n)) [found, best] = [n, distance];
    }
    return found;
  };
  const choose = (n) => {
    if (n < 0) return;
    chosen = n;
    draw();
    htmx.ajax("GET", `${plane.dataset.point}?n=${n}`, { target: "#point", swap: "innerHTML" });
  };
  const zoomAt = (factor, atX, atY) => {
    const next = Math.min(Math.max(zoom * factor, 1), ZOOM_MAX);
    const before = side();
    const dx = (atX - plane.width / 2) / before, dy = (atY - plane.height / 2) / before;
    left += dx * (1 - zoom / next);
    top += dy * (1 - zoom / next);
    zoom = next;
    draw();
  };
  const move = (dx, dy) => {
    left = Math.min(Math.max(left + dx / side(), 0), 1);
    top = Math.min(Math.max(top + dy / side(), 0), 1);
    draw();
  };
  const all = () => {
    [zoom, left, top] = [1, 0.5, 0.5];
    draw();
  };
  const place = (event) => {
    const box = plane.getBoundingClientRect();
    const scale = plane.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, scale];
  };

  const fingers = new Map();
  let moved = 0;
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) moved = 0;
  });
  plane.addEventListener("pointermove", (event) => {
    const was = fingers.get(event.pointerId);
    if (!was) return;
    const is = place(event);
    moved += Math.abs(is[0] - was[0]) + Math.abs(is[1] - was[1]);
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
      zoomAt(apart(is) / apart(was), (is[0] + other[0]) / 2, (is[1] + other[1]) / 2);
    } else move(was[0] - is[0], was[1] - is[1]);
    fingers.set(event.pointerId, is);
  });
  plane.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    const [atX, atY, scale] = place(event);
    if (moved > 4 * scale) return;
    seen = new Set();
    choose(nearest(atX, atY, NEAR * scale));
  });
  plane.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  plane.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [atX, atY] = place(event);
    zoomAt(Math.exp(-event.deltaY / 400), atX, atY);
  }, { passive: false });
  plane.addEventListener("focus", draw);
  plane.addEventListener("blur", draw);

  const step = () => Math.min(plane.width, plane.height) / 8;
  const centre = () => [plane.width / 2, plane.height / 2];
  const keys = {
    ArrowLeft: () => move(-step(), 0),
    ArrowRight: () => move(step(), 0),
    ArrowUp: () => move(0, -step()),
    ArrowDown: () => move(0, step()),
    "+": () => zoomAt(1.5, ...centre()),
    "=": () => zoomAt(1.5, ...centre()),
    "-": () => zoomAt(1 / 1.5, ...centre()),
    0: all,
    Enter: () => {
      seen = new Set();
      choose(nearest(...centre(), Infinity));
    },
    n: () => {
      const from = chosen >= 0 ? [toX(chosen), toY(chosen)] : centre();
      if (chosen >= 0) seen.add(chosen);
      choose(nearest(...from, Infinity, seen));
    },
  };
  plane.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  const fit = () => {
    const scale = devicePixelRatio || 1;
    plane.width = Math.round(plane.clientWidth * scale);
    plane.height = Math.round(plane.clientHeight * scale);
    draw();
  };
  const begin = async () => {
    const answer = await fetch(plane.dataset.points);
    if (!answer.ok) return location.reload();
    const data = new DataView(await answer.arrayBuffer());
    const count = data.byteLength / 8;
    [x, y, label] = [0, 2, 4].map((at) =>
      Uint16Array.from({ length: count }, (_, n) => data.getUint16(8 * n + at, true)));
    [trouble, state] = [6, 7].map((at) =>
      Uint8Array.from({ length: count }, (_, n) => data.getUint8(8 * n + at)));
    paints = new Uint32Array(count);
    paint();
    new ResizeObserver(fit).observe(plane);
    for (const input of [colour, only]) input.addEventListener("change", paint);
    dark.addEventListener("change", paint);
    plane.dataset.drawn = count;
  };
  begin();
};
// Also when htmx brings the map in place of its progress.
document.addEventListener("htmx:load", () => {
  const plane = document.getElementById("plane");
  if (!plane || "begun" in plane.dataset) return;
  plane.dataset.begun = "";
  show(plane);
});
