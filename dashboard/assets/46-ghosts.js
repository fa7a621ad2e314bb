/**
 * Both worlds of a fork on the map: where the recorded world has a driver elsewhere, or in another state, stands its
 * ghost, hollow, with a dotted line to the same driver in the fork. Asked for while shown, and only then.
 * It must not touch the marks that move, nor know how either world came about.
 *
 * @typedef {{forked_at_ms: number, at_ms: number, parted: boolean, driver_id: string[], mall_id: (string|null)[],
 *   lat: number[], lng: number[], state: string[], order_ids: string[][], forked_only: string[]}} RecordedDrivers
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const SOURCE = 'mallard-ghosts';
  const LINES = 'mallard-ghost-lines';
  const CASING = 'mallard-ghost-casing';
  const MARKS = 'mallard-ghost-marks';
  const ASK_MS = 2000;
  const PATIENCE_MS = 12000; // an answer that does not come in this time never will
  const REACH_PX = 10;
  const DENSITY = 2; // pixels of an icon for each of the screen's
  const [WIDE, HIGH] = [26, 28];
  const STATES = ['free', 'busy', 'at_store', 'silent', 'on_break'];
  const OUTLINE = 'M4 25V13a9 9 0 0 1 18 0V25l-3-3-3 3-3-3-3 3-3-3z';
  const NOTHING = { type: 'FeatureCollection', features: [] };
  const counted = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;

  class Ghosts {
    /** @param {any} model */
    constructor(model) {
      this.model = model;
      this.layers = [CASING, LINES, MARKS];
      this.on = false;
      this.n = 0; // of the question on its way
      this.asked = -Infinity;
      this.waits = false;
      this.shown = (_mall_id) => true;
      /** @type {RecordedDrivers | null} */ this.recorded = null;
      /** @type {any} */ this.drawn = NOTHING;
      this.stamp = '';
    }

    // ------------------------------------------------------------ on, off, and what is known

    toggle() {
      if (!this.on && !mallard.replay?.status?.forked_at_ms) {
        mallard.hands.tell('Both worlds are one until this room is forked: decide something, or fork it (v).');
        return;
      }
      this.set(!this.on);
    }

    /** @param {boolean} on */
    set(on) {
      if (on === this.on) return;
      this.on = on;
      document.querySelector('[data-act="replay-ghosts"]')?.setAttribute('aria-pressed', String(on));
      this.forget();
    }

    /** What was known is of another moment: it is asked for anew. */
    forget() {
      this.recorded = null;
      this.waits = false;
      this.n += 1; // what is on its way is not waited for
      this.asked = -Infinity;
      this.update(this.shown);
    }

    /** Several times a second. @param {number | null} forked_at_ms of the room; null: it plays its recording, or is no more */
    tick(forked_at_ms) {
      if (!this.on) return;
      if (!forked_at_ms) { this.set(false); return; }
      const since = performance.now() - this.asked;
      if (document.hidden || since < (this.waits ? PATIENCE_MS : ASK_MS)) return;
      this.asked = performance.now();
      this.waits = true;
      this.n += 1;
      window.dash_clientside.set_props('ghosts-look', { data: { n: this.n } });
    }

    /** @param {{n: number, recorded: RecordedDrivers | null} | null} answer */
    take(answer) {
      if (!answer || !this.on || answer.n !== this.n) return;
      this.waits = false;
      this.recorded = answer.recorded;
      this.update(this.shown);
    }

    // ------------------------------------------------------------ drawn

    /** With every frame: the fork's drivers move on. @param {(mall_id: string) => boolean} shown */
    update(shown) {
      this.shown = shown;
      const ghosts = this.#ghosts();
      this.#note(ghosts.length);
      const features = ghosts.flatMap((ghost) => this.#features(ghost));
      const stamp = JSON.stringify(features);
      if (stamp === this.stamp) return;
      this.stamp = stamp;
      this.drawn = { type: 'FeatureCollection', features };
      this.map?.getSource(SOURCE)?.setData(this.drawn);
    }

    #ghosts() {
      const { recorded } = this;
      if (!this.on || !recorded) return [];
      return recorded.driver_id.map((id, i) => ({
        id, mall_id: recorded.mall_id[i], at: [recorded.lng[i], recorded.lat[i]], state: recorded.state[i], orders: recorded.order_ids[i],
      })).filter((ghost) => this.shown(ghost.mall_id));
    }

    #features({ id, at, state, orders }) {
      const about = (geometry) => ({ type: 'Feature', geometry, properties: { id, state, words: this.#words(id, state, orders) } });
      const ours = this.model.drivers.get(id);
      const there = ours && ours.lat !== null && STATES.includes(ours.state) ? [ours.lng, ours.lat] : null;
      const ghost = about({ type: 'Point', coordinates: at });
      return there ? [about({ type: 'LineString', coordinates: [at, there] }), ghost] : [ghost];
    }

    #words(id, state, orders) {
      const name = this.model.drivers.get(id)?.name || id;
      return [`${name}, as recorded · ${state.replace('_', ' ')} · ${counted(orders.length, 'order')}`, ...(orders.length ? [orders.join(' ')] : [])].join('\n');
    }

    /** @param {number} number of ghosts drawn */
    #note(number) {
      const box = document.getElementById('ghost-note');
      if (!box) return;
      box.hidden = !this.on;
      const words = this.on ? this.#said(number) : '';
      if (box.textContent !== words) box.textContent = words;
    }

    #said(number) {
      const { recorded } = this;
      if (!recorded) return 'Looking at the recorded world …';
      const more = recorded.forked_only.filter((id) => this.shown(this.model.drivers.get(id)?.mall_id)).length;
      const said = [
        number && `${counted(number, 'driver')} ${number === 1 ? 'differs' : 'differ'} from the recording`,
        more && `${counted(more, 'driver')} in the fork only`,
      ].filter(Boolean);
      if (said.length) return said.join(' · ');
      return recorded.parted ? 'Every driver is as recorded so far' : 'Both worlds are alike so far';
    }

    // ------------------------------------------------------------ pointer

    /** @param {{x: number, y: number}} point @returns {any} the ghost there, if any */
    at(point) {
      if (!this.on || !this.map?.getLayer(MARKS)) return null;
      const around = [[point.x - REACH_PX, point.y - REACH_PX], [point.x + REACH_PX, point.y + REACH_PX]];
      return this.map.queryRenderedFeatures(around, { layers: [MARKS] })[0]?.properties || null;
    }

    /** A ghost is its driver. @param {{x: number, y: number}} point @returns {{kind: string, id: string} | null} */
    pick(point) {
      const ghost = this.at(point);
      return ghost ? { kind: 'driver', id: ghost.id } : null;
    }

    // ------------------------------------------------------------ layers

    attach(map) {
      this.map = map;
      if (!map.hasImage(Ghosts.#icon(STATES[0]))) this.#icons();
      if (!map.getSource(SOURCE)) map.addSource(SOURCE, { type: 'geojson', data: this.drawn });
      if (map.getLayer(MARKS)) return;
      const line = (id, width) => map.addLayer({
        id, type: 'line', source: SOURCE, filter: ['==', ['geometry-type'], 'LineString'],
        layout: { 'line-cap': 'round' }, paint: { 'line-width': width },
      });
      line(CASING, 4);
      line(LINES, 2);
      map.setPaintProperty(CASING, 'line-opacity', 0.6);
      map.setPaintProperty(LINES, 'line-dasharray', [0.1, 2.2]);
      map.addLayer({
        id: MARKS, type: 'symbol', source: SOURCE, filter: ['==', ['geometry-type'], 'Point'],
        layout: { 'icon-image': ['concat', 'mallard-ghost-', ['get', 'state']], 'icon-allow-overlap': true, 'icon-ignore-placement': true },
      });
      this.paint();
    }

    paint() {
      if (!this.map?.getLayer(MARKS)) return;
      this.#icons();
      this.map.setPaintProperty(CASING, 'line-color', mallard.theme.colour('edge'));
      this.map.setPaintProperty(LINES, 'line-color', mallard.theme.colour('trip'));
    }

    static #icon(state) { return `mallard-ghost-${state}`; }

    /** In the colours of the scheme in force; what tells a ghost from a driver is its shape. */
    #icons() {
      for (const state of STATES) {
        const [name, image] = [Ghosts.#icon(state), Ghosts.#picture(mallard.theme.colour(`driver-${state.replace('_', '-')}`))];
        if (this.map.hasImage(name)) this.map.updateImage(name, image);
        else this.map.addImage(name, image, { pixelRatio: DENSITY });
      }
    }

    static #picture(colour) {
      const canvas = document.createElement('canvas');
      Object.assign(canvas, { width: WIDE * DENSITY, height: HIGH * DENSITY });
      const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
      pen.scale(DENSITY, DENSITY);
      pen.lineJoin = 'round';
      const outline = new Path2D(OUTLINE);
      for (const [width, ink] of [[5, mallard.theme.colour('edge')], [2.2, colour]]) {
        Object.assign(pen, { lineWidth: width, strokeStyle: ink });
        pen.stroke(outline);
      }
      return pen.getImageData(0, 0, canvas.width, canvas.height);
    }
  }

  mallard.Ghosts = Ghosts;
})(window.mallard);
