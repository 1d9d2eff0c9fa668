// Draws bodies and lines into one canvas with WebGL 2. Bodies are skinned on the GPU.

const BODY = [`#version 300 es
precision highp float;
in vec3 position, normal; in uvec4 joints; in vec4 weights;
uniform mat4 clip; uniform vec4 bones[72]; uniform float size; uniform vec3 light; uniform bool shadow;
out vec3 n;
vec4 row(int r) {
  return weights.x * bones[3 * int(joints.x) + r] + weights.y * bones[3 * int(joints.y) + r]
    + weights.z * bones[3 * int(joints.z) + r] + weights.w * bones[3 * int(joints.w) + r];
}
void main() {
  vec4 a = row(0), b = row(1), c = row(2), at = vec4(size * position, 1);
  vec3 p = vec3(dot(a, at), dot(b, at), dot(c, at));
  n = vec3(dot(a.xyz, normal), dot(b.xyz, normal), dot(c.xyz, normal));
  if (shadow) p = vec3(p.x - light.x * p.y / light.y, 0.002, p.z - light.z * p.y / light.y);
  gl_Position = clip * vec4(p, 1);
}`, `#version 300 es
precision highp float;
in vec3 n; uniform vec4 colour; uniform vec3 light, eye; uniform bool shadow; out vec4 shown;
void main() {
  if (shadow) { shown = colour; return; }
  vec3 u = normalize(n);
  float lit = 0.42 + 0.46 * max(0.0, 0.5 + 0.5 * dot(u, light)) + 0.22 * max(0.0, dot(u, light));
  float rim = pow(1.0 - abs(dot(u, eye)), 3.0);
  vec3 c = colour.rgb * min(lit, 1.08) + 0.10 * rim;
  shown = vec4(min(c, 1.0) * colour.a, colour.a);
}`];

const LINES = [`#version 300 es
precision highp float;
in vec3 from, to; in vec4 colour; in float width;
uniform mat4 clip; uniform vec2 canvas; uniform float lift; out vec4 tone;
void main() {
  vec4 a = clip * vec4(from, 1), b = clip * vec4(to, 1);
  float near = 0.05; tone = colour;
  if (a.w < near && b.w < near) { gl_Position = vec4(2, 2, 2, 1); return; }
  if (a.w < near) a = mix(a, b, (near - a.w) / (b.w - a.w));
  if (b.w < near) b = mix(b, a, (near - b.w) / (a.w - b.w));
  vec2 way = (b.xy / b.w - a.xy / a.w) * canvas;
  way = length(way) > 1e-5 ? normalize(way) : vec2(1, 0);
  vec4 p = (gl_VertexID & 2) == 0 ? a : b;
  float end = (gl_VertexID & 2) == 0 ? -1.0 : 1.0, side = (gl_VertexID & 1) == 0 ? -1.0 : 1.0;
  // squares at the ends join the pieces of a path
  p.xy += (vec2(-way.y, way.x) * side + way * end * 0.5) * width / canvas * p.w;
  p.z -= lift * p.w;
  gl_Position = p;
}`, `#version 300 es
precision highp float;
in vec4 tone; out vec4 shown;
void main() { shown = vec4(tone.rgb * tone.a, tone.a); }`];

const LIGHT = unit([0.35, 1, 0.55]);
const PER_LINE = 11; // from, to, colour with opacity, width in px

class Drawing {
  constructor(canvas, surfaces, people) {
    this.canvas = canvas;
    const gl = this.gl = canvas.getContext("webgl2", { alpha: true, antialias: true, stencil: true });
    if (!gl) throw new Error("no WebGL 2");
    this.body = this.program(BODY); this.lines = this.program(LINES);
    this.shared = surfaces.map((s) => ({
      faces: this.buffer(s.faces, gl.ELEMENT_ARRAY_BUFFER), count: s.faces.length,
      joints: this.buffer(s.joints), weights: this.buffer(s.weights),
    }));
    this.meshes = people.map((p) => p.mesh && this.mesh(p.mesh, this.shared[p.mesh.surface]));
    this.quads = gl.createVertexArray(); this.lineData = gl.createBuffer();
    gl.bindVertexArray(this.quads); gl.bindBuffer(gl.ARRAY_BUFFER, this.lineData);
    let offset = 0;
    for (const [name, count] of [["from", 3], ["to", 3], ["colour", 4], ["width", 1]]) {
      const at = gl.getAttribLocation(this.lines.program, name);
      gl.enableVertexAttribArray(at); gl.vertexAttribDivisor(at, 1);
      gl.vertexAttribPointer(at, count, gl.FLOAT, false, 4 * PER_LINE, 4 * offset);
      offset += count;
    }
    gl.bindVertexArray(null);
    gl.enable(gl.BLEND); gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  program([vertex, fragment]) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return { program, at: new Proxy({}, { get: (all, name) => all[name] ??= gl.getUniformLocation(program, name) }) };
  }

  buffer(data, kind = this.gl.ARRAY_BUFFER) {
    const buffer = this.gl.createBuffer();
    this.gl.bindBuffer(kind, buffer); this.gl.bufferData(kind, data, this.gl.STATIC_DRAW);
    return buffer;
  }

  mesh(mesh, shared) {
    const gl = this.gl, vertices = gl.createVertexArray(), at = (name) => gl.getAttribLocation(this.body.program, name);
    const position = this.buffer(mesh.vertices), normal = this.buffer(mesh.normals);
    gl.bindVertexArray(vertices);
    for (const [name, buffer, count, type] of [["position", position, 3, gl.SHORT], ["normal", normal, 3, gl.BYTE],
      ["weights", shared.weights, 4, gl.UNSIGNED_BYTE]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.enableVertexAttribArray(at(name));
      gl.vertexAttribPointer(at(name), count, type, true, 0, 0);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, shared.joints); gl.enableVertexAttribArray(at("joints"));
    gl.vertexAttribIPointer(at("joints"), 4, gl.UNSIGNED_BYTE, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, shared.faces);
    gl.bindVertexArray(null);
    return { vertices, count: shared.count, size: mesh.size };
  }

  // Fits the drawing to the size on the screen, and clears it.
  begin(camera, lens, picture) {
    const { gl, canvas } = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const wide = Math.max(1, Math.round(canvas.clientWidth * ratio)), high = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    this.ratio = ratio; this.clip = clipMatrix(camera, lens, picture, [wide, high]);
    this.eye = unit([-camera[8], -camera[9], -camera[10]]);
    gl.viewport(0, 0, wide, high); gl.clearColor(0, 0, 0, 0); gl.depthMask(true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
  }

  // bodies: [{person, bones, colour: [r, g, b, opacity]}]
  bodies(bodies, { shadow = null } = {}) {
    const { gl } = this, { program, at } = this.body;
    gl.useProgram(program); gl.enable(gl.DEPTH_TEST); gl.enable(gl.CULL_FACE);
    gl.uniformMatrix4fv(at.clip, false, this.clip); gl.uniform3fv(at.light, LIGHT); gl.uniform3fv(at.eye, this.eye);
    gl.uniform1i(at.shadow, shadow ? 1 : 0);
    if (shadow) { // each pixel once, however many triangles fall onto it
      gl.enable(gl.STENCIL_TEST); gl.stencilFunc(gl.EQUAL, 0, 255); gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
      gl.depthMask(false); gl.disable(gl.CULL_FACE);
    }
    for (const { person, bones, colour } of bodies) {
      const mesh = this.meshes[person];
      if (!mesh) continue;
      gl.uniform4fv(at.bones, bones); gl.uniform1f(at.size, mesh.size); gl.uniform4fv(at.colour, shadow || colour);
      gl.bindVertexArray(mesh.vertices); gl.drawElements(gl.TRIANGLES, mesh.count, gl.UNSIGNED_SHORT, 0);
    }
    if (shadow) { gl.disable(gl.STENCIL_TEST); gl.depthMask(true); }
    gl.bindVertexArray(null);
  }

  // data: a Float32Array with PER_LINE numbers a piece
  strokes(data, { deep = true, lift = 0 } = {}) {
    const { gl, canvas } = this, { program, at } = this.lines;
    if (!data.length) return;
    gl.useProgram(program); gl.disable(gl.CULL_FACE); gl.depthMask(false);
    if (deep) gl.enable(gl.DEPTH_TEST); else gl.disable(gl.DEPTH_TEST);
    gl.uniformMatrix4fv(at.clip, false, this.clip); gl.uniform1f(at.lift, lift);
    gl.uniform2f(at.canvas, canvas.width / this.ratio, canvas.height / this.ratio);
    gl.bindVertexArray(this.quads); gl.bindBuffer(gl.ARRAY_BUFFER, this.lineData);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, data.length / PER_LINE);
    gl.bindVertexArray(null); gl.depthMask(true);
  }
}
