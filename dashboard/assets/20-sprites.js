/**
 * One WebGL layer of marks on the map: drivers, or drop-offs. Shapes are computed in the shader, so there is no image to
 * load; moves are tweened; hit tests use the very positions drawn.
 * It must not know drivers or orders, only kinds, and never touches Plotly or the map's style.
 *
 * @typedef {{lat: number, lng: number, kind: number, heading?: number, ring?: (at_ms: number) => number,
 *   flags?: number}} Mark
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const FLOATS = 6; // x, y, kind, heading, ring, flags
  const SUSPECT = 1;
  const SELECTED = 2;
  const KINDS = ['driver-free', 'driver-busy', 'driver-at-store', 'driver-silent', 'driver-on-break', 'driver-busy',
    'on-time', 'at-risk', 'late'];

  const VERTEX = `#version 300 es
in vec2 a_place; in vec4 a_look;
uniform mat4 u_matrix; uniform float u_dpr; uniform vec3 u_palette[9];
flat out vec4 v_look; flat out vec3 v_colour; flat out float v_reach;
void main() {
  gl_Position = u_matrix * vec4(a_place, 0., 1.);
  v_look = a_look;
  v_colour = u_palette[int(a_look.x + .5)];
  v_reach = max(a_look.z, 15.) + 2.;
  gl_PointSize = 2. * v_reach * u_dpr;
}`;
  const FRAGMENT = `#version 300 es
precision highp float;
flat in vec4 v_look; flat in vec3 v_colour; flat in float v_reach;
uniform vec3 u_edge; uniform vec3 u_halo; uniform float u_fade; uniform float u_dpr;
out vec4 colour;
float soft(float d) { return clamp(.5 - d * u_dpr, 0., 1.); }          // signed distance in px -> coverage
float ring(float r, float at, float width) { return soft(abs(r - at) - width * .5); }
void over(inout vec4 under, vec3 c, float a) { under = vec4(c * a, a) + under * (1. - a); }
float cut(vec2 p, vec2 a, vec2 b) { vec2 e = b - a; return dot(p - a, vec2(e.y, -e.x)) / length(e); }
float arrow(vec2 p) {                                                   // nose up, notched at the back
  p.x = abs(p.x);
  return max(cut(p, vec2(0., -10.), vec2(7., 7.)), -cut(p, vec2(0., 3.5), vec2(7., 7.)));
}
void main() {
  vec2 p = (gl_PointCoord - .5) * 2. * v_reach;
  float r = length(p), diamond = abs(p.x) + abs(p.y);
  int kind = int(v_look.x + .5), flags = int(v_look.w + .5);
  vec3 c = mix(v_colour, u_edge, u_fade * .55);
  vec4 o = vec4(0.);
  if (v_look.z > 0.) {                                                  // age: the wider, the older the position
    over(o, c, soft(r - v_look.z) * .12);
    over(o, c, ring(r, v_look.z, 1.2) * .75);
  }
  if ((flags & ${SELECTED}) != 0) over(o, u_halo, ring(r, 13.5, 2.5));
  if ((flags & ${SUSPECT}) != 0) over(o, u_halo, ring(r, 10.5, 2.) * step(.5, fract(atan(p.y, p.x) * 8. / 6.2831853)));
  if (kind == 1) {
    float s = sin(v_look.y), k = cos(v_look.y);
    vec2 q = vec2(k * p.x + s * p.y, -s * p.x + k * p.y);
    float d = arrow(q);
    over(o, u_edge, soft(d - 1.6));
    over(o, c, soft(d));
  } else if (kind == 2) {
    over(o, u_edge, soft(r - 9.));
    over(o, c, ring(r, 7.2, 2.2));
    over(o, c, soft(r - 3.6));
  } else if (kind == 3) {
    over(o, u_edge, soft(r - 7.8) * .65);
    over(o, c, ring(r, 6., 2.2));
  } else if (kind == 4) {
    float d = max(abs(p.x), abs(p.y));
    over(o, u_edge, soft(d - 7.));
    over(o, c, soft(d - 5.6));
    over(o, u_edge, soft(max(abs(abs(p.x) - 1.9) - .8, abs(p.y) - 3.2)));
  } else if (kind == 6) {                                               // a drop-off on time: hollow, small
    over(o, u_edge, soft((diamond - 6.) * .7) * .8);
    over(o, c, soft((abs(diamond - 4.8) - 1.1) * .7));
  } else if (kind == 7) {
    over(o, u_edge, soft((diamond - 8.6) * .7));
    over(o, c, soft((diamond - 7.) * .7));
  } else if (kind == 8) {
    over(o, u_edge, soft((diamond - 11.4) * .7));
    over(o, c, soft((diamond - 9.6) * .7));
    over(o, u_edge, soft(max(abs(p.x) - 1.1, abs(p.y + 1.4) - 2.8)));
    over(o, u_edge, soft(length(p - vec2(0., 4.2)) - 1.2));
  } else {
    over(o, u_edge, soft(r - 7.6));
    over(o, c, soft(r - 6.2));
    if (kind == 5) over(o, u_edge, soft(r - 2.));
  }
  colour = o * (1. - u_fade * .35);
}`;

  /** Web Mercator, 0 to 1, y down. @param {number} lng @param {number} lat @returns {[number, number]} */
  function mercator(lng, lat) {
    return [(lng + 180) / 360, (1 - Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360)) / Math.PI) / 2];
  }

  /** @param {WebGL2RenderingContext} gl @returns {WebGLProgram} */
  function compile(gl) {
    const program = /** @type {WebGLProgram} */ (gl.createProgram());
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(Number(type)));
      gl.shaderSource(shader, String(source));
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) || 'shader');
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    return program;
  }

  /** The map's matrix moved to an origin, in double precision, so that marks do not jitter when zoomed in. */
  function matrixAt(matrix, x, y) {
    const moved = Float64Array.from(matrix);
    for (let row = 0; row < 4; row += 1) moved[12 + row] += matrix[row] * x + matrix[4 + row] * y;
    return new Float32Array(moved);
  }

  /** @param {string} hex @returns {number[]} */
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

  class SpriteLayer {
    /** @param {string} id @param {number} tween_ms the longest a move is drawn out; 0 jumps
     *  @param {number} least_zoom below, nothing is drawn or picked */
    constructor(id, tween_ms, least_zoom) {
      this.id = id;
      this.type = 'custom';
      this.tween_ms = tween_ms;
      this.least_zoom = least_zoom;
      /** @type {Map<string, any>} */ this.marks = new Map();
      this.at_ms = () => 0;
      this.fade = 0;
      this.drawn = 0;
      this.buffer = new Float32Array(0);
    }

    onAdd(map, gl) {
      this.map = map;
      this.program = compile(gl);
      this.vertices = gl.createBuffer();
      this.place = gl.getAttribLocation(this.program, 'a_place');
      this.look = gl.getAttribLocation(this.program, 'a_look');
      this.uniforms = Object.fromEntries(['u_matrix', 'u_dpr', 'u_palette', 'u_edge', 'u_halo', 'u_fade']
        .map((name) => [name, gl.getUniformLocation(this.program, name)]));
      this.paint();
    }

    onRemove(_map, gl) {
      gl.deleteBuffer(this.vertices);
      gl.deleteProgram(this.program);
    }

    /** Reads the colours of the scheme in force. */
    paint() {
      this.palette = new Float32Array(KINDS.flatMap((name) => rgb(mallard.theme.colour(name))));
      this.edge = rgb(mallard.theme.colour('edge'));
      this.halo = rgb(mallard.theme.colour('halo'));
      this.repaint();
    }

    repaint() { this.map?.triggerRepaint(); }

    /** Places or moves a mark. @param {string} id @param {Mark} mark @param {number} now */
    put(id, mark, now) {
      const [x, y] = mercator(mark.lng, mark.lat);
      const held = this.marks.get(id);
      const next = { kind: mark.kind, heading: mark.heading || 0, ring: mark.ring || null, flags: mark.flags || 0, x, y };
      if (!held) {
        this.marks.set(id, { ...next, fromX: x, fromY: y, start: now, span: 0 });
        return;
      }
      if (held.x !== x || held.y !== y) {
        const [fromX, fromY] = SpriteLayer.#shown(held, now);
        // A move takes as long as the last one took to come, within limits: steady pings make a steady pace.
        const span = Math.min(this.tween_ms, Math.max(this.tween_ms / 3, now - held.start));
        Object.assign(held, { fromX, fromY, start: now, span });
      }
      Object.assign(held, next);
    }

    /** @param {string} id */
    drop(id) { this.marks.delete(id); }

    static #shown(mark, now) {
      const part = mark.span ? Math.min(1, (now - mark.start) / mark.span) : 1;
      return [mark.fromX + (mark.x - mark.fromX) * part, mark.fromY + (mark.y - mark.fromY) * part];
    }

    get near() { return this.map.getZoom() >= this.least_zoom; }

    render(gl, args) {
      this.drawn = 0;
      if (!this.near) return;
      const now = performance.now();
      const [ox, oy] = mercator(...this.map.getCenter().toArray());
      const moving = this.#fill(now, ox, oy);
      gl.useProgram(this.program);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.vertices);
      gl.bufferData(gl.ARRAY_BUFFER, this.buffer.subarray(0, this.marks.size * FLOATS), gl.DYNAMIC_DRAW);
      this.#attribute(gl, this.place, 2, 0);
      this.#attribute(gl, this.look, 4, 2);
      const at = this.uniforms;
      gl.uniformMatrix4fv(at.u_matrix, false, matrixAt(args.defaultProjectionData.mainMatrix, ox, oy));
      gl.uniform1f(at.u_dpr, this.map.getPixelRatio());
      gl.uniform3fv(at.u_palette, this.palette);
      gl.uniform3fv(at.u_edge, this.edge);
      gl.uniform3fv(at.u_halo, this.halo);
      gl.uniform1f(at.u_fade, this.fade);
      gl.enable(gl.BLEND);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.disable(gl.DEPTH_TEST);
      gl.drawArrays(gl.POINTS, 0, this.marks.size);
      this.drawn = this.marks.size;
      if (moving) this.map.triggerRepaint();
    }

    #attribute(gl, location, size, from) {
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, gl.FLOAT, false, FLOATS * 4, from * 4);
    }

    /** Writes what is to be drawn, relative to an origin near the view. @returns {boolean} whether anything still moves */
    #fill(now, ox, oy) {
      if (this.buffer.length < this.marks.size * FLOATS) this.buffer = new Float32Array(this.marks.size * FLOATS * 2);
      const at_ms = this.at_ms();
      let moving = false;
      let i = 0;
      for (const mark of this.marks.values()) {
        const [x, y] = SpriteLayer.#shown(mark, now);
        moving = moving || now - mark.start < mark.span;
        this.buffer.set([x - ox, y - oy, mark.kind, mark.heading, mark.ring ? mark.ring(at_ms) : 0, mark.flags], i);
        i += FLOATS;
      }
      return moving;
    }

    /** Where a mark is drawn now. @param {string} id @returns {{lng: number, lat: number} | null} */
    where(id) {
      const mark = this.marks.get(id);
      if (!mark) return null;
      const [x, y] = SpriteLayer.#shown(mark, performance.now());
      return { lng: x * 360 - 180, lat: (Math.atan(Math.exp(Math.PI * (1 - 2 * y))) * 360) / Math.PI - 90 };
    }

    /** The nearest mark within `reach_px` of a place. @returns {string | null} */
    pick(lng, lat, reach_px) {
      if (!this.near) return null;
      const [px, py] = mercator(lng, lat);
      const now = performance.now();
      let best = null;
      let nearest = reach_px / (512 * 2 ** this.map.getZoom());
      for (const [id, mark] of this.marks) {
        const [x, y] = SpriteLayer.#shown(mark, now);
        const away = Math.hypot(x - px, y - py);
        if (away < nearest) { nearest = away; best = id; }
      }
      return best;
    }
  }

  mallard.SpriteLayer = SpriteLayer;
  mallard.SUSPECT = SUSPECT;
  mallard.SELECTED = SELECTED;
})(window.mallard);
