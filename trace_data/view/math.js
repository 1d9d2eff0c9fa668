// Small linear algebra: points are [x, y, z] in metres, affine maps are 12 numbers, row by row (3 x 4).

const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const unit = (a) => { const n = Math.hypot(...a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
const moved = (m, p) => [0, 4, 8].map((r) => m[r] * p[0] + m[r + 1] * p[1] + m[r + 2] * p[2] + m[r + 3]);
// a rigid map backwards: from the camera's axes to the world's
const movedBack = (m, p) => {
  const q = [p[0] - m[3], p[1] - m[7], p[2] - m[11]];
  return [0, 1, 2].map((c) => m[c] * q[0] + m[4 + c] * q[1] + m[8 + c] * q[2]);
};

// The 24 joints of a body: its rest joints turned by axis-angle rotations relative to their parents. `out` receives
// what takes a point of the T-pose to the world, 12 numbers a joint; the joints' own places are returned.
function posed(rest, pose, at, scale, pelvis, parents, out) {
  const turns = new Float64Array(9 * parents.length), places = [];
  for (let j = 0; j < parents.length; j++) {
    const k = at + 3 * j;
    const v = [pose[k] * scale, pose[k + 1] * scale, pose[k + 2] * scale];
    const angle = Math.hypot(...v), [x, y, z] = angle > 1e-9 ? v.map((e) => e / angle) : [1, 0, 0];
    const c = Math.cos(angle), s = Math.sin(angle), d = 1 - c;
    const own = [c + x * x * d, x * y * d - z * s, x * z * d + y * s, y * x * d + z * s, c + y * y * d,
      y * z * d - x * s, z * x * d - y * s, z * y * d + x * s, c + z * z * d];
    const r = turns.subarray(9 * j, 9 * j + 9), here = [rest[3 * j], rest[3 * j + 1], rest[3 * j + 2]];
    const up = parents[j];
    if (up < 0) { r.set(own); places.push([...pelvis]); } else {
      const p = turns.subarray(9 * up, 9 * up + 9);
      for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++)
        r[3 * a + b] = p[3 * a] * own[b] + p[3 * a + 1] * own[3 + b] + p[3 * a + 2] * own[6 + b];
      const bone = sub(here, [rest[3 * up], rest[3 * up + 1], rest[3 * up + 2]]);
      places.push(add(places[up], [0, 3, 6].map((a) => p[a] * bone[0] + p[a + 1] * bone[1] + p[a + 2] * bone[2])));
    }
    if (out) for (let a = 0; a < 3; a++) {
      const row = 12 * j + 4 * a;
      out.set(r.subarray(3 * a, 3 * a + 3), row);
      out[row + 3] = places[j][a] - dot(r.subarray(3 * a, 3 * a + 3), here);
    }
  }
  return places;
}

// A lens is [fx, skew, cx, fy, cy] in pixels of a picture; the centre of its first pixel is (0, 0).
const pixel = (lens, p) => [(lens[0] * p[0] + lens[1] * p[1]) / p[2] + lens[2], lens[3] * p[1] / p[2] + lens[4]];

// World to clip space, column by column as WebGL wants it. The picture is fitted into the canvas whole.
function clipMatrix(camera, lens, [width, height], [across, down], near = 0.05, far = 400) {
  const shape = (across / down) / (width / height), fit = shape > 1 ? [1 / shape, 1] : [1, shape];
  const p = [
    [2 * lens[0] / width, 2 * lens[1] / width, 2 * (lens[2] + 0.5) / width - 1].map((e) => e * fit[0]),
    [0, -2 * lens[3] / height, 1 - 2 * (lens[4] + 0.5) / height].map((e) => e * fit[1]),
    [0, 0, (far + near) / (far - near)], [0, 0, 1],
  ];
  const out = new Float32Array(16);
  for (let r = 0; r < 4; r++) for (let c = 0; c < 4; c++)
    out[4 * c + r] = p[r][0] * camera[c] + p[r][1] * camera[4 + c] + p[r][2] * camera[8 + c];
  out[14] -= 2 * far * near / (far - near);
  return out;
}

// A camera that looks at a point: x right, y down, z forward, as everywhere in this project. The world's y is up.
function orbit({ target, yaw, pitch, distance }) {
  const forward = [-Math.sin(yaw) * Math.cos(pitch), -Math.sin(pitch), -Math.cos(yaw) * Math.cos(pitch)];
  const right = unit(cross(forward, [0, 1, 0])), down = cross(forward, right), eye = add(target, forward, -distance);
  return { camera: [right, down, forward].flatMap((axis) => [...axis, -dot(axis, eye)]), right, down, forward, eye };
}
