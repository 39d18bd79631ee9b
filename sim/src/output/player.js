"use strict";
(function () {
  const get = (id) => document.getElementById(id);
  const film = JSON.parse(get("p-data").textContent);
  const view = get("p-view"), pen = view.getContext("2d");
  const slider = get("p-at"), button = get("p-play"), even = get("p-even");
  const count = film.at.length;

  // Deltas back to times.
  const sums = (rows) => { let t = 0; rows.forEach((row) => { t += row[0]; row[0] = t; }); };
  sums(film.got);
  sums(film.frames);

  // Which messages each node has, and since when: [time, message], by time.
  const has = Array.from({ length: count }, () => []);
  film.said.forEach(([author, at], message) => has[author] && has[author].push([at, message]));
  film.got.forEach(([at, node, message]) => has[node] && has[node].push([at, message]));
  has.forEach((list) => list.sort((a, b) => a[0] - b[0]));

  // Every time at which something happens. Between two of them, much time counts little.
  const times = new Set([0, film.end]);
  film.on.forEach((turns) => turns.forEach((t) => times.add(t)));
  film.links.forEach(([, , up, length]) => { times.add(up); if (length >= 0) times.add(up + length); });
  film.said.forEach(([, t]) => times.add(t));
  film.got.forEach(([t]) => times.add(t));
  film.frames.forEach(([t, , , took]) => { times.add(t); times.add(Math.min(film.end, t + took)); });
  film.cuts.forEach(([from, to]) => { times.add(from); times.add(to); });
  const marks = Array.from(times).filter((t) => t <= film.end).sort((a, b) => a - b);
  const gaps = marks.map((t, n) => (n ? t - marks[n - 1] : 0));
  const busy = gaps.filter((g) => g > 0).sort((a, b) => a - b);
  const unit = Math.max(1, busy.length ? busy[busy.length >> 1] : 1);
  let warped = [];
  function warp() {
    let sum = 0;
    warped = gaps.map((gap) => {
      sum += even.checked || gap <= unit ? gap : unit * (1 + 2 * Math.log(gap / unit));
      return sum;
    });
    // Where each frame's way begins in the film, and how long it is.
    film.frames.forEach((frame) => {
      frame[6] = warpOf(frame[0]);
      frame[7] = warpOf(Math.min(film.end, frame[0] + frame[3])) - frame[6];
    });
  }
  const last = (list, value) => {
    let low = 0, high = list.length;
    while (low < high) { const mid = (low + high) >> 1; if (list[mid] <= value) low = mid + 1; else high = mid; }
    return low - 1;
  };
  const between = (from, to, value) => {
    const n = Math.max(0, last(from, value));
    if (n + 1 >= from.length) return to[to.length - 1];
    const span = from[n + 1] - from[n];
    return to[n] + (span > 0 ? ((value - from[n]) / span) * (to[n + 1] - to[n]) : 0);
  };
  const whole = () => Math.max(1e-9, warped[warped.length - 1]);
  const timeOf = (w) => between(warped, marks, w);
  const warpOf = (t) => between(marks, warped, t);
  warp();

  function clock(us) {
    const s = us / 1e6, pad = (n) => String(Math.floor(n)).padStart(2, "0");
    if (s < 60) return s.toFixed(2) + " s";
    const day = Math.floor(s / 86400);
    return (day ? day + " d " : "") + pad((s / 3600) % 24) + ":" + pad((s / 60) % 60) + ":" + pad(s % 60);
  }

  const choice = get("p-message");
  choice.max = String(film.said.length - 1);
  // The number of the message that is shown, or -1 for all.
  function chosen() {
    const number = choice.value === "" ? -1 : Number(choice.value);
    return Number.isInteger(number) && number >= 0 && number < film.said.length ? number : -1;
  }

  const news = film.news.map(([t, text]) => [t, text]);
  film.said.forEach(([author, t], n) => news.push([t, "node " + author + " wrote m" + n]));
  film.got.forEach(([t, node, n]) => news.push([t, "m" + n + " reached node " + node]));
  film.on.forEach((turns, node) => turns.forEach((t, n) => { if (t > 0) news.push([t, "node " + node + (n % 2 ? " went off" : " came on")]); }));
  film.cuts.forEach(([from, to, side]) => {
    news.push([from, "split: " + side.slice(0, 12).join(", ") + (side.length > 12 ? " …" : "") + " | the others"]);
    if (to < film.end) news.push([to, "the split is healed"]);
  });
  news.sort((a, b) => a[0] - b[0]);
  const newsTimes = news.map(([t]) => t);

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let colours = {};
  function readColours() {
    const dark = matchMedia("(prefers-color-scheme:dark)").matches;
    colours = {
      ink: css("--ink"), soft: css("--soft"), line: css("--line"), paper: css("--paper"),
      blue: dark ? "#56b4e9" : "#0072b2", orange: dark ? "#ff9248" : "#d55e00", green: dark ? "#2fd3a4" : "#009e73"
    };
  }

  let width = 0, height = 0, scale = 1, left = 0, top = 0, radius = 5;
  const wide = film.walk.length === 0 && film.at.every((p) => Math.abs(p[1] - 500) < 120);
  function size() {
    const ratio = window.devicePixelRatio || 1;
    width = view.parentNode.clientWidth - 18;
    height = wide ? Math.min(260, width * 0.5) : Math.min(width, 560);
    view.style.width = width + "px";
    view.style.height = height + "px";
    view.width = Math.round(width * ratio);
    view.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    radius = Math.max(5, Math.min(22, (Math.min(width, wide ? width : height) * (count > 20 ? 0.24 : 0.4)) / Math.sqrt(count + 4)));
    scale = ((wide ? width : Math.min(width, height)) - (wide ? 0 : radius + 6)) / 1000;
    left = (width - 1000 * scale) / 2;
    top = (height - 1000 * scale) / 2;
  }
  // Who walks is between two turns.
  function place(node) {
    const walk = film.walk[node];
    if (!walk || walk.length < 2) return film.at[node];
    let low = 0, high = walk.length;
    while (low < high) { const mid = (low + high) >> 1; if (walk[mid][0] <= shown) low = mid + 1; else high = mid; }
    const a = walk[Math.max(0, low - 1)], b = walk[Math.min(walk.length - 1, low)];
    const part = b[0] > a[0] ? Math.min(1, (shown - a[0]) / (b[0] - a[0])) : 0;
    return [a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part];
  }
  let shown = 0, spots = film.at;
  const x = (node) => left + spots[node][0] * scale;
  const y = (node) => top + spots[node][1] * scale;

  let at = 0, playing = false, stamp = 0;

  function isOn(node, t) {
    const turns = film.on[node];
    return last(turns, t) % 2 === 0;
  }
  function held(node, t, message) {
    const list = has[node];
    let n = 0;
    for (let k = 0; k < list.length && list[k][0] <= t; k++) {
      if (message < 0) n++;
      else if (list[k][1] === message) return 1;
    }
    return n;
  }

  function draw() {
    const t = timeOf(at), message = chosen();
    shown = t;
    spots = film.at.map((_, node) => place(node));
    pen.clearRect(0, 0, width, height);
    pen.lineWidth = count > 60 ? 1 : 1.6;
    pen.strokeStyle = colours.soft;
    film.links.forEach(([a, b, up, length]) => {
      if (up > t || (length >= 0 && up + length <= t)) return;
      pen.beginPath(); pen.moveTo(x(a), y(a)); pen.lineTo(x(b), y(b)); pen.stroke();
    });
    // A frame is under way for a moment of the picture at least.
    const shortest = whole() / 90;
    for (const [sent, from, to, , lost, what, begin, length] of film.frames) {
      if (sent > t) break;
      let part = (at - begin) / Math.max(shortest, length);
      if (part > 1 || part < 0 || (message >= 0 && what !== message)) continue;
      if (lost) part *= 0.6;
      pen.fillStyle = lost ? colours.orange : what >= 0 ? colours.blue : colours.soft;
      pen.globalAlpha = lost ? 1 - part : 1;
      pen.beginPath();
      pen.arc(x(from) + (x(to) - x(from)) * part, y(from) + (y(to) - y(from)) * part, what >= 0 ? 4.5 : 3, 0, 7);
      pen.fill();
      pen.globalAlpha = 1;
    }
    const cuts = film.cuts.filter(([from, to]) => from <= t && t < to);
    let written = 0, pairs = 0;
    for (const [, when] of film.said) if (when <= t) written++;
    for (let node = 0; node < count; node++) {
      const on = isOn(node, t), cx = x(node), cy = y(node);
      const n = held(node, t, message), all = message < 0 ? written : 1;
      pairs += n;
      const share = all ? Math.min(1, n / all) : 0;
      pen.globalAlpha = on ? 1 : 0.55;
      pen.fillStyle = colours.paper;
      pen.beginPath(); pen.arc(cx, cy, radius, 0, 7); pen.fill();
      pen.fillStyle = message >= 0 && film.said[message][0] === node ? colours.blue : colours.green;
      pen.beginPath(); pen.moveTo(cx, cy);
      pen.arc(cx, cy, radius, -Math.PI / 2, -Math.PI / 2 + share * 2 * Math.PI);
      pen.closePath(); pen.fill();
      const inside = cuts.some((cut) => cut[2].includes(node));
      pen.strokeStyle = inside ? colours.orange : colours.ink;
      pen.lineWidth = inside ? 3 : 1.4;
      pen.setLineDash(on ? [] : [3, 3]);
      pen.beginPath(); pen.arc(cx, cy, radius, 0, 7); pen.stroke();
      pen.setLineDash([]);
      if (radius >= 9) {
        pen.font = "600 " + Math.round(radius * 0.85) + "px system-ui, sans-serif";
        pen.textAlign = "center"; pen.textBaseline = "middle";
        pen.lineWidth = 3; pen.strokeStyle = colours.paper;
        pen.strokeText(String(node), cx, cy + 0.5);
        pen.fillStyle = colours.ink;
        pen.fillText(String(node), cx, cy + 0.5);
      }
      pen.globalAlpha = 1;
    }
    get("p-time").textContent = clock(t);
    get("p-now").textContent = (cuts.length ? "split · " : "") + written + " of " + film.said.length + " messages written, " +
      (message < 0 ? (written ? Math.round((100 * pairs) / (written * count)) : 0) + " % of their copies are there" : pairs + " of " + count + " nodes have m" + message + ", written by node " + film.said[message][0] + " at " + clock(film.said[message][1]));
    const upto = last(newsTimes, t);
    const list = get("p-news");
    list.replaceChildren(...news.slice(Math.max(0, upto - 4), upto + 1).reverse().map(([when, text]) => {
      const item = document.createElement("li");
      item.textContent = clock(when) + "  " + text;
      return item;
    }));
    slider.value = String(Math.round((at / whole()) * 10000));
  }

  function frame(now) {
    if (!playing) return;
    // The whole run takes half a minute.
    at += ((now - stamp) / 30000) * whole() * Number(get("p-speed").value);
    stamp = now;
    if (at >= whole()) { at = whole(); play(false); }
    draw();
    if (playing) requestAnimationFrame(frame);
  }
  function play(on) {
    playing = on;
    button.textContent = on ? "Pause" : "Play";
    if (on) {
      if (at >= whole()) at = 0;
      stamp = performance.now();
      requestAnimationFrame(frame);
    }
  }
  button.addEventListener("click", () => play(!playing));
  slider.addEventListener("input", () => { at = (Number(slider.value) / 10000) * whole(); draw(); });
  choice.addEventListener("input", draw);
  even.addEventListener("change", () => { const t = timeOf(at); warp(); at = warpOf(t); draw(); });
  window.addEventListener("resize", () => { size(); draw(); });
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", () => { readColours(); draw(); });
  readColours();
  size();
  // report.html#t=0.5 opens in the middle.
  const start = new URLSearchParams(location.hash.slice(1)).get("t");
  at = start === null ? 0 : Number(start) * whole();
  draw();
})();
