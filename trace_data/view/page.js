// The page: one moment, shown over the picture and in the world.

const $ = (id) => document.getElementById(id);
const scene = JSON.parse($("scene").textContent);
const coded = $("data").textContent;
const bytes = (Uint8Array.fromBase64?.(coded) ?? Uint8Array.from(atob(coded), (c) => c.charCodeAt(0))).buffer;
const KINDS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, i2: Int16Array, i1: Int8Array, u2: Uint16Array, u1: Uint8Array };
const array = ([kind, offset, count]) => new KINDS[kind](bytes, offset, count);

const time = array(scene.time), cameras = array(scene.cameras), lenses = array(scene.lenses);
const observed = array(scene.observed), numbers = array(scene.numbers), size = scene.size, frames = time.length;
const camera = (f) => cameras.subarray(12 * f, 12 * f + 12);
const lens = (f) => lenses.subarray(lenses.length > 5 ? 5 * f : 0, lenses.length > 5 ? 5 * f + 5 : 5);
const eyeOf = (f) => movedBack(camera(f), [0, 0, 0]);
const surfaces = scene.surfaces.map((s) => ({ faces: array(s.faces), joints: array(s.joints), weights: array(s.weights) }));
const people = scene.people.map((p) => {
  const rows = array(p.frames), row = new Int32Array(frames).fill(-1);
  rows.forEach((f, k) => { row[f] = k; });
  const person = { ...p, row, rows, state: array(p.state), place: array(p.place), shown: true,
    mesh: p.mesh && { ...p.mesh, vertices: array(p.mesh.vertices), normals: array(p.mesh.normals), rest: array(p.mesh.rest) } };
  if (p.pose) Object.assign(person, { pose: array(p.pose), rest: array(p.rest) });
  else person.points = array(p.points);
  return person;
});
const SEEN = 0;

// Places of a person's joints in a frame; absent joints are null. Fills `bones` for the mesh where it is given.
function joints(person, frame) {
  const k = person.row[frame];
  if (k < 0) return null;
  const place = person.place.subarray(3 * k, 3 * k + 3);
  if (person.pose) return posed(person.rest, person.pose, 72 * k, Math.PI / 32767, place, scene.parents);
  const count = person.points.length / person.rows.length / 3;
  return Array.from({ length: count }, (_, j) => {
    const p = [...person.points.subarray(3 * (count * k + j), 3 * (count * k + j) + 3)];
    return Number.isFinite(p[0]) ? p : null;
  });
}
function bonesOf(person, frame) {
  const k = person.row[frame], out = new Float32Array(288);
  posed(person.mesh.rest, person.pose, 72 * k, Math.PI / 32767, person.place.subarray(3 * k, 3 * k + 3), scene.parents, out);
  return out;
}
const project = (frame, person, joint) => pixel(lens(frame), moved(camera(frame), joints(people[person], frame)[joint]));

// -- what is drawn ----------------------------------------------------------------------------------------------------

const css = (name) => {
  const [r, g, b] = getComputedStyle(document.documentElement).getPropertyValue(name).trim().match(/[\da-f]{2}/gi).map((h) => parseInt(h, 16) / 255);
  return [r, g, b];
};
const toned = (person, frame) => { // paler where the body was not seen
  const c = person.colour, seen = person.state[person.row[frame]] === SEEN;
  return seen ? c : c.map((e) => 0.45 * e + 0.4);
};
const stroke = (out, a, b, colour, opacity, width) => { out.push(...a, ...b, ...colour, opacity, width); };
const strokes = (out) => new Float32Array(out);

function bounds() {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  const take = (p, r) => p.forEach((e, i) => { low[i] = Math.min(low[i], e - r); high[i] = Math.max(high[i], e + r); });
  for (const person of people) for (let k = 0; k < person.rows.length; k++) take([...person.place.subarray(3 * k, 3 * k + 3)], 0.9);
  if (!people.some((p) => p.rows.length)) { take([0, 0, 0], 1); for (let f = 0; f < frames; f++) take(eyeOf(f), 0.5); }
  return [low, high];
}
const [low, high] = bounds();
const middle = low.map((e, i) => (e + high[i]) / 2), extent = Math.max(2, Math.hypot(high[0] - low[0], high[2] - low[2]));

function floor() {
  const out = [], ink = css("--grid"), reach = [[low[0], high[0]], [low[2], high[2]]].map(([a, b]) => [Math.floor(Math.max(a, -60) - 1.5), Math.ceil(Math.min(b, 60) + 1.5)]);
  const [[x0, x1], [z0, z1]] = reach;
  for (let x = x0; x <= x1; x++) stroke(out, [x, 0, z0], [x, 0, z1], ink, x % 5 ? 0.45 : 0.9, x % 5 ? 1 : 1.4);
  for (let z = z0; z <= z1; z++) stroke(out, [x0, 0, z], [x1, 0, z], ink, z % 5 ? 0.45 : 0.9, z % 5 ? 1 : 1.4);
  return strokes(out);
}
function path() {
  const out = [], ink = css("--camera");
  for (let f = 1; f < frames; f++) stroke(out, eyeOf(f - 1), eyeOf(f), ink, observed[f] ? 0.75 : 0.3, 2);
  return strokes(out);
}
// the way of a person on the floor: pale as a whole, strong up to the moment
const ways = people.map((person) => {
  const out = [];
  for (let k = 1; k < person.rows.length; k++) {
    if (person.rows[k] - person.rows[k - 1] > 1) continue;
    const a = [...person.place.subarray(3 * k - 3, 3 * k)], b = [...person.place.subarray(3 * k, 3 * k + 3)];
    a[1] = b[1] = 0.005;
    out.push({ frame: person.rows[k], a, b });
  }
  return out;
});
function trails(frame) {
  const out = [];
  people.forEach((person, i) => {
    if (!person.shown) return;
    const strong = person.colour.map((e) => e * trailTone);
    for (const { frame: f, a, b } of ways[i]) stroke(out, a, b, strong, f <= frame ? 0.95 : 0.25, f <= frame ? 3 : 1.5);
  });
  return strokes(out);
}
function frustum(frame) {
  const out = [], ink = css("--camera"), c = camera(frame), l = lens(frame), [w, h] = size;
  const depth = Math.min(1, Math.max(0.35, extent / 10)), eye = eyeOf(frame);
  const corner = (u, v) => {
    const y = (v - l[4]) / l[3], x = (u - l[2] - l[1] * y) / l[0];
    return movedBack(c, [x * depth, y * depth, depth]);
  };
  const corners = [corner(-0.5, -0.5), corner(w - 0.5, -0.5), corner(w - 0.5, h - 0.5), corner(-0.5, h - 0.5)];
  corners.forEach((p, i) => { stroke(out, eye, p, ink, 0.9, 1.5); stroke(out, p, corners[(i + 1) % 4], ink, 1, 2); });
  // a mark above says which side of the picture is up
  const above = corner(w / 2 - 0.5, -0.5 - h / 6);
  stroke(out, corners[0], above, ink, 0.9, 1.5); stroke(out, above, corners[1], ink, 0.9, 1.5);
  return strokes(out);
}
function skeletons(frame, width) {
  const out = [];
  for (const person of people) {
    const at = person.shown && joints(person, frame);
    if (!at) continue;
    const seen = person.state[person.row[frame]] === SEEN;
    for (const [a, b, side] of scene.bones) if (at[a] && at[b])
      stroke(out, at[a], at[b], width > 4 ? toned(person, frame) : scene.sides[side], seen ? 1 : 0.5, width);
  }
  return strokes(out);
}
const bodies = (frame, opacity = 1) => people.flatMap((person, i) => person.shown && person.mesh && person.row[frame] >= 0
  ? [{ person: i, bones: bonesOf(person, frame), colour: [...toned(person, frame), opacity] }] : []);

let over = null, world = null, grid, way, trailTone = 0.8;
function prepare() {
  try {
    world = new Drawing($("world"), surfaces, people);
    over = $("over") && new Drawing($("over"), surfaces, people);
  } catch (error) {
    world = over = null;
    document.body.classList.add("flat");
    console.warn(error);
  }
  tones();
}
function tones() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  trailTone = dark ? 0.95 : 0.8;
  grid = floor(); way = path();
}

// -- state ------------------------------------------------------------------------------------------------------------

const now = { frame: 0, playing: false, through: false, follow: -1, mode: scene.people.some((p) => p.mesh) ? "mesh" : "skeleton" };
const orbiting = { yaw: 0, pitch: 0.32, distance: 5, target: middle };
const focalOf = (w, h) => 1.25 * Math.min(w, 1.4 * h);
// From behind the first camera and aside, so that picture and world look alike; far enough to see people and camera.
function goHome() {
  const c = camera(0), points = [];
  for (let i = 0; i < 8; i++) points.push([i & 1 ? high[0] : low[0], i & 2 ? Math.max(high[1], 0.1) : 0, i & 4 ? high[2] : low[2]]);
  for (let f = 0; f < frames; f += Math.ceil(frames / 40)) {
    const eye = eyeOf(f), away = sub(eye, middle), far = Math.hypot(...away);
    points.push(far > 12 ? add(middle, away, 12 / far) : eye);
  }
  const centre = [0, 1, 2].map((i) => (Math.min(...points.map((p) => p[i])) + Math.max(...points.map((p) => p[i]))) / 2);
  const w = $("world").clientWidth || 600, h = $("world").clientHeight || 500, focal = focalOf(w, h);
  Object.assign(orbiting, { yaw: Math.atan2(-c[8], -c[10]) + 0.7, pitch: 0.32, target: centre });
  for (orbiting.distance = 2; orbiting.distance < 80; orbiting.distance *= 1.05) {
    const view = orbit(orbiting).camera;
    if (points.every((p) => { const [x, y, z] = moved(view, p); return z > 0.3 && focal * Math.abs(x) / z < 0.44 * w && focal * Math.abs(y) / z < 0.44 * h; })) break;
  }
}
goHome();

let asked = false;
function redraw() { if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; draw(); }); } }
function draw() {
  const f = now.frame;
  if (over) {
    over.begin(camera(f), lens(f), size);
    if (now.mode === "mesh") over.bodies(bodies(f));
    if (now.mode === "skeleton" || (now.mode === "mesh" && people.some((p) => !p.mesh))) over.strokes(skeletons(f, 3), { deep: false });
  }
  if (!world) return;
  const followed = people[now.follow], k = followed ? followed.row[f] : -1;
  if (k >= 0) orbiting.target = [followed.place[3 * k], followed.place[3 * k + 1], followed.place[3 * k + 2]];
  if (now.through) world.begin(camera(f), lens(f), size);
  else {
    const w = world.canvas.clientWidth, h = world.canvas.clientHeight, focal = focalOf(w, h);
    world.begin(orbit(orbiting).camera, [focal, 0, (w - 1) / 2, focal, (h - 1) / 2], [w, h]);
  }
  world.strokes(grid); world.strokes(trails(f), { lift: 0.00002 });
  const there = bodies(f);
  world.bodies(there, { shadow: [0, 0, 0, 0.22] }); world.bodies(there);
  if (people.some((p) => p.shown && !p.mesh)) world.strokes(skeletons(f, 5), { lift: 0.00002 });
  if (!now.through) { world.strokes(way, { lift: 0.00002 }); world.strokes(frustum(f), { lift: 0.00002 }); }
}

const counted = (n, word, many = `${word}s`) => `${n} ${n === 1 ? word : many}`;
function show(frame, { seek = true } = {}) {
  now.frame = Math.max(0, Math.min(frames - 1, frame));
  const there = people.filter((p) => p.row[now.frame] >= 0).length, t = time[now.frame];
  const words = `${t.toFixed(2)} s, frame ${numbers[now.frame]}, ${counted(there, "person", "people")}`;
  $("time").value = now.frame; $("time").setAttribute("aria-valuetext", words);
  $("moment").textContent = `${t.toFixed(2)} s`;
  $("number").textContent = `frame ${numbers[now.frame]} · ${counted(there, "person", "people")}`;
  document.title = `${t.toFixed(2)} s · ${counted(there, "person", "people")} · ${scene.title}`;
  $("cursor").style.left = `${frames > 1 ? 100 * now.frame / (frames - 1) : 0}%`;
  people.forEach((person, i) => $(`person-${i}`).classList.toggle("away", person.row[now.frame] < 0));
  picture.show(now.frame, seek);
  redraw();
}
// the frame that is on the screen at a time of the video; stamps are rounded
function frameAt(t) {
  let a = 0, b = frames - 1;
  const slack = frames > 1 ? 0.3 * (time[frames - 1] - time[0]) / (frames - 1) : 0;
  while (a < b) { const m = (a + b + 1) >> 1; if (time[m] <= t + slack) a = m; else b = m - 1; }
  return a;
}

// -- the picture: a video that gives the time, images, or nothing -------------------------------------------------------

function clockOnly(display) {
  let begun = 0, from = 0, timer = 0;
  const tick = (stamp) => {
    if (!now.playing) return;
    const t = from + (stamp - begun) / 1000 * Number($("speed").value);
    if (t > time[frames - 1]) { begun = stamp; from = time[0]; show(0); } else if (frameAt(t) !== now.frame) show(frameAt(t));
    timer = requestAnimationFrame(tick);
  };
  return {
    show: display,
    play() { from = now.frame === frames - 1 ? time[0] : time[now.frame]; timer = requestAnimationFrame((s) => { begun = s; tick(s); }); },
    pause() { cancelAnimationFrame(timer); },
    speed() { if (now.playing) { this.pause(); this.play(); } },
  };
}
function stills() {
  const image = $("still"), list = $("frames").textContent.split("\n"), urls = [];
  return clockOnly((frame) => {
    const k = scene.stills[frame];
    urls[k] ??= `data:image/jpeg;base64,${list[k]}`;
    if (image.src !== urls[k]) image.src = urls[k];
  });
}
function film(video) {
  const inside = (f) => time[f] + 0.3 * ((time[f + 1] ?? time[f] + 0.03) - time[f]);
  const arrived = (t) => {
    if (!now.playing) return;
    if (t > time[frames - 1] + 0.05) { video.currentTime = inside(0); show(0, { seek: false }); } else show(frameAt(t), { seek: false });
  };
  // the frame on the screen where the browser tells it; else the clock of the video
  let told = -Infinity;
  const frameShown = (_, shown) => { told = performance.now(); arrived(shown.mediaTime); video.requestVideoFrameCallback(frameShown); };
  video.requestVideoFrameCallback?.(frameShown);
  const each = () => {
    if (!now.playing) return;
    if (performance.now() - told > 300) arrived(video.currentTime);
    requestAnimationFrame(each);
  };
  video.addEventListener("ended", () => { if (now.playing) { video.currentTime = inside(0); video.play(); } });
  return {
    show(frame, seek) { if (seek) video.currentTime = inside(frame); },
    play() {
      if (now.frame === frames - 1) video.currentTime = inside(0);
      video.playbackRate = Number($("speed").value); video.play().catch(() => play(false)); requestAnimationFrame(each);
    },
    pause() {
      if (video.paused) return;
      video.pause(); show(frameAt(video.currentTime)); // a slow machine draws bodies late
    },
    speed() { video.playbackRate = Number($("speed").value); },
  };
}
function chosen() {
  const video = $("video");
  if ($("still")) return stills();
  if (!video) return clockOnly(() => {});
  video.addEventListener("error", () => {
    $("unplayed").hidden = false;
    const going = now.playing;
    if (going) play(false);
    picture = clockOnly(() => {});
    if (going) play(true);
  });
  return film(video);
}
let picture = chosen();

function play(go = !now.playing) {
  now.playing = go && frames > 1;
  $("play").textContent = now.playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", now.playing ? "pause" : "play");
  if (now.playing) picture.play(); else { picture.pause(); remember(); }
}
let remembering = 0;
function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    try { history.replaceState(null, "", `#t=${time[now.frame].toFixed(2)}`); } catch { /* some browsers refuse it on disk */ }
  }, 250);
}
function fromAddress() {
  const wanted = /(?:^#|&)t=([\d.]+)/.exec(location.hash), words = new URLSearchParams(location.hash.slice(1));
  if (words.has("camera")) throughCamera(true);
  show(wanted ? frameAt(Number(wanted[1]) + 0.005) : 0);
}

// -- controls ---------------------------------------------------------------------------------------------------------

const step = (by) => { play(false); show(now.frame + by); remember(); };
function throughCamera(on = !now.through) {
  now.through = on; $("through").setAttribute("aria-pressed", on); redraw();
}
function follow(person) {
  now.follow = person; $("follow").value = person;
  if (person >= 0) throughCamera(false); else orbiting.target = [...orbiting.target];
  redraw();
}
function toggle(i) {
  people[i].shown = !people[i].shown;
  $(`person-${i}`).setAttribute("aria-pressed", people[i].shown); redraw();
}
$("play").addEventListener("click", () => play());
$("time").addEventListener("input", (e) => { play(false); show(Number(e.target.value)); remember(); });
$("speed").addEventListener("change", () => picture.speed());
$("through").addEventListener("click", () => throughCamera());
$("follow").addEventListener("change", (e) => follow(Number(e.target.value)));
$("home").addEventListener("click", () => { follow(-1); throughCamera(false); goHome(); redraw(); });
$("mode")?.addEventListener("change", (e) => { now.mode = e.target.value; redraw(); });
people.forEach((_, i) => $(`person-${i}`).addEventListener("click", () => toggle(i)));

function turn(yaw, pitch) {
  if (now.through) throughCamera(false);
  orbiting.yaw += yaw; orbiting.pitch = Math.max(-0.2, Math.min(1.55, orbiting.pitch + pitch)); redraw();
}
function shift(x, y) {
  if (now.follow >= 0) follow(-1);
  if (now.through) throughCamera(false);
  const { right, down } = orbit(orbiting), scale = orbiting.distance / (1.25 * world.canvas.clientHeight);
  orbiting.target = add(add(orbiting.target, right, -x * scale), down, -y * scale); redraw();
}
function zoom(factor) {
  if (now.through) throughCamera(false);
  orbiting.distance = Math.max(0.6, Math.min(200, orbiting.distance * factor)); redraw();
}

const touches = new Map();
$("world").addEventListener("pointerdown", (e) => { touches.set(e.pointerId, e); $("world").setPointerCapture(e.pointerId); });
for (const end of ["pointerup", "pointercancel"]) $("world").addEventListener(end, (e) => touches.delete(e.pointerId));
$("world").addEventListener("pointermove", (e) => {
  const last = touches.get(e.pointerId);
  if (!last) return;
  const x = e.clientX - last.clientX, y = e.clientY - last.clientY;
  if (touches.size === 2) {
    const [other] = [...touches.values()].filter((t) => t.pointerId !== e.pointerId);
    const apart = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY);
    zoom(apart(last) / Math.max(1, apart(e))); shift(x / 2, y / 2);
  } else if (e.buttons & 6 || e.shiftKey) shift(x, y);
  else turn(-0.007 * x, 0.007 * y);
  touches.set(e.pointerId, e);
});
$("world").addEventListener("contextmenu", (e) => e.preventDefault());
$("world").addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(0.0012 * e.deltaY)); }, { passive: false });
$("world").addEventListener("keydown", (e) => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
  if (ways && e.shiftKey) shift(-40 * ways[0], 40 * ways[1]);
  else if (ways) turn(0.1 * ways[0], 0.1 * ways[1]);
  else return;
  e.preventDefault(); e.stopPropagation();
});
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  const busy = e.target.tagName === "BUTTON" || e.target.tagName === "INPUT" || e.target.tagName === "SUMMARY";
  const act = {
    " ": busy && e.target.id !== "time" ? null : () => play(), k: () => play(), ",": () => step(-1), ".": () => step(1),
    ArrowLeft: busy ? null : () => step(-1), ArrowRight: busy ? null : () => step(1),
    Home: busy ? null : () => step(-frames), End: busy ? null : () => step(frames),
    c: () => throughCamera(), f: () => follow(now.follow + 1 < people.length ? now.follow + 1 : -1),
    0: () => $("home").click(), "+": () => zoom(1 / 1.15), "-": () => zoom(1.15),
  }[e.key] ?? (/^[1-9]$/.test(e.key) && people[e.key - 1] ? () => toggle(e.key - 1) : null);
  if (act) { act(); e.preventDefault(); }
});

// when each person is there, under the slider
people.forEach((person, i) => {
  const bar = $(`times-${i}`), share = 100 / Math.max(1, frames);
  for (let k = 0; k < person.rows.length; k++) {
    const start = k, seen = person.state[k] === SEEN;
    while (k + 1 < person.rows.length && person.rows[k + 1] === person.rows[k] + 1 && (person.state[k + 1] === SEEN) === seen) k++;
    const run = document.createElement("i");
    run.style.cssText = `left:${share * person.rows[start]}%;width:${share * (person.rows[k] - person.rows[start] + 1)}%`;
    if (!seen) run.className = "unseen";
    bar.append(run);
  }
});

prepare();
new ResizeObserver(redraw).observe($("world"));
if ($("over")) new ResizeObserver(redraw).observe($("over"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tones(); redraw(); });
addEventListener("hashchange", fromAddress);
fromAddress();
window.traceView = { show, play, project, people, now, draw, time, orbiting };
