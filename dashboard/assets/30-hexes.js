/**
 * The hex layer: one fill whose colour follows a feature-state, so that new counts never touch the map's style.
 * It must not know where counts come from; it is given cells and values.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const ID = 'mallard-hexes';
  const EMPTY = { type: 'FeatureCollection', features: [] };
  /** What each layer says, its unit, and value -> [colour, opacity] steps. */
  const LAYERS = {
    supply: { words: 'free drivers', steps: [[0, 'hex-high', 0], [1, 'hex-high', 0.25], [6, 'hex-high', 0.75]] },
    demand: { words: 'open orders', steps: [[0, 'hex-low', 0], [1, 'hex-low', 0.25], [8, 'hex-low', 0.75]] },
    balance: { words: 'free drivers less open orders', steps: [[-5, 'hex-low', 0.75], [-1, 'hex-low', 0.25], [0, 'hex-mid', 0], [1, 'hex-high', 0.25], [5, 'hex-high', 0.75]] },
    wait: { words: 'minutes the oldest order waits', steps: [[0, 'hex-wait', 0], [5, 'hex-wait', 0.2], [40, 'hex-wait', 0.75]] },
  };

  /** @param {string} name @param {number} opacity */
  function rgba(name, opacity) {
    const hex = mallard.theme.colour(name);
    return `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(',')},${opacity})`;
  }

  class HexLayer {
    /** @param {InstanceType<typeof mallard.Model>} model */
    constructor(model) {
      this.model = model;
      this.layer = 'off';
      /** @type {Map<string, any>} */ this.shapes = new Map();
      /** @type {Set<string>} */ this.asked = new Set();
    }

    /** Puts source and fill under Plotly's traces, if they are not there. @param {any} map */
    attach(map) {
      this.map = map;
      if (map.getLayer(ID)) return;
      if (!map.getSource(ID)) map.addSource(ID, { type: 'geojson', data: EMPTY, promoteId: 'cell' });
      const below = map.getStyle().layers.find((layer) => layer.id.startsWith('plotly-'));
      map.addLayer({ id: ID, type: 'fill', source: ID, layout: { visibility: 'none' }, paint: { 'fill-color': 'rgba(0,0,0,0)' } }, below?.id);
      this.#showShapes();
      this.show(this.layer);
    }

    /** @param {string} layer */
    show(layer) {
      this.layer = layer;
      this.#legend();
      if (!this.map?.getLayer(ID)) return;
      this.map.setLayoutProperty(ID, 'visibility', layer === 'off' ? 'none' : 'visible');
      if (layer === 'off') return;
      this.paint();
      this.#askShapes();
      for (const cells of this.model.hexes.values()) this.update(cells.keys());
    }

    /** Reads the colours of the scheme in force. */
    paint() {
      if (this.layer === 'off' || !this.map?.getLayer(ID)) return;
      const stops = LAYERS[this.layer].steps.flatMap(([value, name, opacity]) => [value, rgba(name, opacity)]);
      this.map.setPaintProperty(ID, 'fill-color', ['interpolate', ['linear'], ['coalesce', ['feature-state', 'v'], 0], ...stops]);
      const empty = ['==', ['coalesce', ['feature-state', 'v'], 0], 0];
      this.map.setPaintProperty(ID, 'fill-outline-color', ['case', empty, 'rgba(0,0,0,0)', rgba('hex-mid', 0.5)]);
    }

    /** @param {Iterable<string>} cells those whose counts changed */
    update(cells) {
      if (this.layer === 'off' || !this.map?.getSource(ID)) return;
      for (const cell of cells) this.map.setFeatureState({ source: ID, id: cell }, { v: this.value(cell) });
    }

    /** @param {string} cell @returns {number} */
    value(cell) {
      for (const cells of this.model.hexes.values()) {
        const held = cells.get(cell);
        if (held) return held[this.layer] || 0;
      }
      return 0;
    }

    /** What to say about the cell at a point, if there is one. @returns {string | null} */
    words(point) {
      if (this.layer === 'off' || !this.map?.getLayer(ID)) return null;
      const found = this.map.queryRenderedFeatures(point, { layers: [ID] })[0];
      if (!found) return null;
      const value = this.value(found.properties.cell);
      return value ? `${value} ${LAYERS[this.layer].words}` : null;
    }

    /** Shapes never change, so each mall's are fetched once, when a layer is first shown. */
    #askShapes() {
      for (const mall of this.model.kpis.keys()) {
        if (this.asked.has(mall)) continue;
        this.asked.add(mall);
        fetch(`/api/v1/hexes?mall_id=${encodeURIComponent(mall)}`)
          .then((reply) => (reply.ok ? reply.json() : Promise.reject(new Error(`hexes: ${reply.status}`))))
          .then((shapes) => { this.shapes.set(mall, shapes); this.#showShapes(); this.show(this.layer); })
          .catch(() => this.asked.delete(mall)); // asked again when a layer is next chosen
      }
    }

    #showShapes() {
      const features = [...this.shapes.values()].flatMap((shapes) => shapes.features)
        .map((feature) => ({ type: 'Feature', geometry: feature.geometry, properties: { cell: feature.id } }));
      this.map?.getSource(ID)?.setData({ type: 'FeatureCollection', features });
    }

    #legend() {
      const box = document.getElementById('hex-legend');
      if (!box) return;
      box.hidden = this.layer === 'off';
      if (box.hidden) return;
      const { words, steps } = LAYERS[this.layer];
      const bar = document.createElement('i');
      bar.style.background = `linear-gradient(90deg, ${steps.map(([, name, opacity]) => rgba(name, opacity)).join(', ')})`;
      const ends = document.createElement('span');
      ends.textContent = `${steps[0][0]} to ${steps[steps.length - 1][0]}+ ${words}`.replace('-', '−');
      box.replaceChildren(bar, ends);
    }
  }

  mallard.HexLayer = HexLayer;
})(window.mallard);
