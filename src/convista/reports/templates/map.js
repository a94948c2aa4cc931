"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent), sheet = find("sheet"), canvas = find("map");
  const pen = canvas.getContext("2d"), n = data.x.length, only = new Set(), MARGIN = 34;
  const start = () => ({ zoom: 1, x: 0, y: 0 });
  let view = start(), size = [1, 1], chosen = -1, hovered = -1, pictures = true, style = {}, drag = null;

  /* Places: the map's own are within -0.5..0.5, y upwards; the canvas's are pixels, y downwards. */
  const breadth = (values) => values.reduce((most, v) => Math.max(most, 2 * Math.abs(v)), 1e-9);
  const wide = breadth(data.x), high = breadth(data.y);
  const unit = () => view.zoom * Math.min((size[0] - 2 * MARGIN) / wide, (size[1] - 2 * MARGIN) / high);
  const at = (i) => [size[0] / 2 + (data.x[i] - view.x) * unit(), size[1] / 2 - (data.y[i] - view.y) * unit()];
  const side = () => {
    const room = Math.sqrt((size[0] * size[1]) / n);
    return Math.min(data.side, Math.max(34, Math.min(64, room)) * view.zoom ** 0.25);
  };
  const radius = () => Math.min(7, (n > 5000 ? 2.5 : 4) * Math.sqrt(view.zoom));
  const shown = (i) => !only.size || only.has(data.label[i]);
  const tiled = (i) => placed.has(i);

  /* Pictures that would cover one another are marks until one zooms in. Which are drawn depends on the zoom, not on the
     part that is seen, so that nothing flickers while the map is moved. */
  let placed = new Set(), placedFor = "";
  function place() {
    const key = [view.zoom, ...size, pictures, ...only].join(), s = side(), u = unit(), cells = new Map();
    if (key === placedFor) return;
    [placed, placedFor] = [new Set(), key];
    for (let i = 0; pictures && i < n; i++) {
      if (data.tile[i] < 0 || !shown(i)) continue;
      const x = data.x[i] * u, y = data.y[i] * u, column = Math.floor(x / s), row = Math.floor(y / s);
      const cell = column + " " + row, around = [];
      for (const c of [column - 1, column, column + 1])
        for (const r of [row - 1, row, row + 1]) around.push(...(cells.get(c + " " + r) || []));
      if (around.some(([a, b]) => Math.max(Math.abs(a - x), Math.abs(b - y)) < 0.9 * s)) continue;
      cells.set(cell, [...(cells.get(cell) || []), [x, y]]);
      placed.add(i);
    }
  }

  const SHAPES = [
    (p, x, y, r) => p.arc(x, y, r, 0, 7),
    (p, x, y, r) => p.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r),
    (p, x, y, r) => corners(p, x, y, 1.25 * r, [[0, -1], [0.92, 0.7], [-0.92, 0.7]]),
    (p, x, y, r) => corners(p, x, y, 1.3 * r, [[0, -1], [0.85, 0], [0, 1], [-0.85, 0]]),
    (p, x, y, r) => corners(p, x, y, 1.25 * r, [[0, 1], [0.92, -0.7], [-0.92, -0.7]]),
    (p, x, y, r) => corners(p, x, y, 1.2 * r, [[-1, -.35], [-.35, -.35], [-.35, -1], [.35, -1], [.35, -.35], [1, -.35],
      [1, .35], [.35, .35], [.35, 1], [-.35, 1], [-.35, .35], [-1, .35]]),
  ];
  function corners(p, x, y, r, places) {
    places.forEach(([a, b], i) => (i ? p.lineTo(x + a * r, y + b * r) : p.moveTo(x + a * r, y + b * r)));
    p.closePath();
  }
  function mark(p, kind, x, y, r) {
    const [colour, shape] = data.marks[kind];
    p.beginPath();
    SHAPES[shape](p, x, y, r);
    p.fillStyle = style.colours[colour];
    p.fill();
    p.lineWidth = 1;
    p.strokeStyle = style.card;
    p.stroke();
  }
  function tile(p, i, x, y, s) {
    const t = data.tile[i], d = data.side;
    p.drawImage(sheet, (t % data.columns) * d, Math.floor(t / data.columns) * d, d, d, x, y, s, s);
  }

  function point(i, larger) {
    const [x, y] = at(i), s = side() * larger, r = radius() * larger;
    if (x < -s || y < -s || x > size[0] + s || y > size[1] + s) return;
    pen.globalAlpha = shown(i) || larger > 1 ? 1 : 0.12;
    if (!tiled(i) && !(larger > 1 && pictures && data.tile[i] >= 0)) {
      mark(pen, data.label[i], x, y, r);
    } else {
      const line = larger > 1 ? 3 : 2;
      tile(pen, i, x - s / 2, y - s / 2, s);
      pen.lineWidth = line;
      pen.strokeStyle = style.colours[data.marks[data.label[i]][0]];
      pen.strokeRect(x - s / 2, y - s / 2, s, s);
      mark(pen, data.label[i], x - s / 2 + 2, y - s / 2 + 2, Math.min(6, Math.max(3.5, s / 8)));
    }
    if (i === chosen) {
      const half = (pictures && data.tile[i] >= 0 ? s / 2 : r) + 4;
      pen.lineWidth = 3;
      pen.strokeStyle = style.ink;
      pen.strokeRect(x - half, y - half, 2 * half, 2 * half);
    }
  }
  function draw() {
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, ...size);
    place();
    const layers = [(i) => !shown(i), (i) => shown(i) && !tiled(i), (i) => shown(i) && tiled(i)];
    for (const layer of layers) for (let i = 0; i < n; i++) if (layer(i)) point(i, 1);
    for (const i of [hovered, chosen]) if (i >= 0) point(i, 1.5);
    pen.globalAlpha = 1;
  }
  let waiting = false;
  function soon() {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  }

  function tell(i) {
    const told = i >= 0;
    find("hint").hidden = told;
    find("found").hidden = !told;
    if (!told) return;
    const small = find("picture"), pixels = small.getContext("2d");
    small.hidden = data.tile[i] < 0;
    find("none").hidden = data.tile[i] >= 0;
    pixels.clearRect(0, 0, small.width, small.height);
    if (data.tile[i] >= 0) tile(pixels, i, 0, 0, small.width);
    find("label").textContent = data.classes[data.label[i]];
    find("name").textContent = data.names[i];
  }
  function choose(i) {
    chosen = i;
    if (i >= 0) {
      const [x, y] = at(i);
      if (x < 0 || y < 0 || x > size[0] || y > size[1]) [view.x, view.y] = [data.x[i], data.y[i]];
    }
    tell(i);
    soon();
  }
  function nearest(x, y, reach) {
    let best = -1, least = reach;
    for (let i = 0; i < n; i++) {
      const [a, b] = at(i), far = Math.hypot(a - x, b - y);
      if (shown(i) && far < least) [best, least] = [i, far];
    }
    return best;
  }
  /* The next picture in a direction: near, and not too far to the side. */
  function step(dx, dy) {
    if (chosen < 0) return choose(nearest(size[0] / 2, size[1] / 2, Infinity));
    const [x, y] = at(chosen);
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      const [a, b] = at(i), along = (a - x) * dx + (b - y) * dy, beside = Math.abs((a - x) * dy - (b - y) * dx);
      const far = along + 2 * beside;
      if (i !== chosen && shown(i) && along > 1e-6 && beside <= 1.2 * along && far < least) [best, least] = [i, far];
    }
    if (best >= 0) choose(best);
  }
  function turn(by) {
    for (let t = 1, i = chosen; t <= n; t++) {
      i = (Math.max(i, by < 0 ? 0 : -1) + by + n) % n;
      if (shown(i)) return choose(i);
    }
  }
  function zoom(factor, x = size[0] / 2, y = size[1] / 2) {
    const before = unit(), next = Math.min(60, Math.max(1, view.zoom * factor));
    view.zoom = next;
    const shift = 1 / before - 1 / unit();
    view.x += (x - size[0] / 2) * shift;
    view.y -= (y - size[1] / 2) * shift;
    if (next === 1) view = start();
    canvas.style.touchAction = next > 1 ? "none" : "pan-y";
    soon();
  }
  const reset = () => { view = start(); zoom(1); };

  /* What is below the pointer: the nearest mark, or the picture that covers the place. */
  function below(x, y) {
    const mark = nearest(x, y, 10);
    if (mark >= 0) return mark;
    const half = side() / 2;
    for (const i of placed) {
      const [a, b] = at(i);
      if (Math.max(Math.abs(a - x), Math.abs(b - y)) <= half) return i;
    }
    return -1;
  }
  canvas.addEventListener("pointerdown", (e) => {
    drag = { x: e.offsetX, y: e.offsetY, view: { ...view }, moved: false };
    canvas.setPointerCapture(e.pointerId);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (drag) {
      const dx = e.offsetX - drag.x, dy = e.offsetY - drag.y;
      drag.moved = drag.moved || Math.hypot(dx, dy) > 4;
      if (drag.moved && view.zoom > 1) [view.x, view.y] = [drag.view.x - dx / unit(), drag.view.y + dy / unit()];
    } else {
      const found = below(e.offsetX, e.offsetY);
      if (found === hovered) return;
      hovered = found;
      tell(found >= 0 ? found : chosen);
    }
    soon();
  });
  canvas.addEventListener("pointerup", (e) => {
    if (drag && !drag.moved) choose(below(e.offsetX, e.offsetY));
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { hovered = -1; tell(chosen); soon(); });
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && document.activeElement !== canvas) return; /* the page scrolls until the map is clicked */
    e.preventDefault();
    zoom(Math.exp(-e.deltaY / 400), e.offsetX, e.offsetY);
  }, { passive: false });
  const KEYS = {
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: reset, Escape: () => choose(-1),
    n: () => turn(1), p: () => turn(-1),
  };
  canvas.addEventListener("keydown", (e) => {
    if (!KEYS[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    KEYS[e.key]();
  });
  find("closer").onclick = () => zoom(1.5);
  find("away").onclick = () => zoom(1 / 1.5);
  find("whole").onclick = reset;
  find("pictures").onchange = (e) => { pictures = e.target.checked; soon(); };

  function legend() {
    const counts = data.classes.map(() => 0);
    data.label.forEach((kind) => counts[kind]++);
    data.classes.forEach((name, kind) => {
      const button = document.createElement("button"), glyph = document.createElement("canvas");
      const words = document.createElement("span"), count = document.createElement("small");
      [glyph.width, glyph.height, button.type] = [36, 36, "button"];
      button.setAttribute("aria-pressed", "false");
      [words.textContent, count.textContent] = [name, counts[kind].toLocaleString("en")];
      button.append(glyph, words, count);
      button.onclick = () => {
        only.has(kind) ? only.delete(kind) : only.add(kind);
        button.setAttribute("aria-pressed", only.has(kind));
        soon();
      };
      const row = document.createElement("li");
      row.append(button);
      find("legend").append(row);
    });
  }
  function dress() {
    const css = getComputedStyle(document.documentElement), value = (name) => css.getPropertyValue(name).trim();
    style = { ink: value("--ink"), card: value("--card"), colours: [0, 1, 2, 3, 4, 5].map((i) => value("--c" + i)) };
    document.querySelectorAll("#legend canvas").forEach((glyph, kind) => {
      const p = glyph.getContext("2d");
      p.clearRect(0, 0, 36, 36);
      mark(p, kind, 18, 18, 12);
    });
    soon();
  }
  function fit() {
    size = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = size[0] * devicePixelRatio;
    canvas.height = size[1] * devicePixelRatio;
    draw();
  }
  legend();
  dress();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  new ResizeObserver(fit).observe(canvas);
  sheet.decode().then(soon, soon);
})();
