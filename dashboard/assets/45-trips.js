/**
 * The trips the autopilot has in mind but nobody drives yet: a dashed line from the driver by the mall to the drop-offs.
 * It must not look like a route: routes are drawn in full, by Plotly, once an order is given out.
 *
 * @typedef {{key: string, driver_id: string, mall_id: string, stops: string[], chosen: boolean}} Trip
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const SOURCE = 'mallard-trips';
  const LINES = 'mallard-trip-lines';
  const CASING = 'mallard-trip-casing';
  const STOPS = 'mallard-trip-stops';
  const MEANT = new Set(['suggested', 'planned', 'waits']);
  const SHADE = ['case', ['get', 'chosen'], 1, 0.55];

  class TripLayer {
    /** @param {any} model @param {(mall_id: string) => [number, number] | null} mallPlace */
    constructor(model, mallPlace) {
      this.model = model;
      this.mallPlace = mallPlace;
      this.all = false; // else only that of the order selected
      this.layers = [CASING, LINES, STOPS];
      /** @type {any} */ this.drawn = { type: 'FeatureCollection', features: [] };
      this.stamp = '';
    }

    /** The trips to draw, each once, that of the selected order last and so on top.
     *  @param {(mall_id: string) => boolean} shown @param {{kind: string, id: string} | null} selection @returns {Trip[]} */
    wanted(shown, selection) {
      /** @type {Map<string, Trip>} */ const trips = new Map();
      for (const order of this.model.orders.values()) {
        const { advice } = order;
        const chosen = selection?.kind === 'order' && selection.id === order.id;
        if (!advice?.driver_id || order.driver_id || !MEANT.has(advice.word) || !shown(order.mall_id)) continue;
        if (!chosen && !this.all) continue;
        const stops = advice.trip?.length ? advice.trip : [order.id];
        const key = `${advice.driver_id}/${stops}`;
        if (chosen || !trips.has(key)) trips.set(key, { key, driver_id: advice.driver_id, mall_id: order.mall_id, stops, chosen });
      }
      return [...trips.values()].sort((a, b) => Number(a.chosen) - Number(b.chosen) || (a.key < b.key ? -1 : 1));
    }

    /** @param {Trip} trip @returns {any[]} */
    features(trip) {
      const driver = this.model.drivers.get(trip.driver_id);
      const start = driver && driver.lat !== null ? [driver.lng, driver.lat] : null;
      const doors = trip.stops.map((id) => this.model.orders.get(id)?.dropoff).filter(Boolean).map(({ lng, lat }) => [lng, lat]);
      const line = [start, this.mallPlace(trip.mall_id), ...doors].filter(Boolean);
      const about = (geometry, words) => ({ type: 'Feature', geometry, properties: { chosen: trip.chosen, words } });
      const numbers = trip.chosen ? doors.map((coordinates, i) => about({ type: 'Point', coordinates }, String(i + 1))) : [];
      return [about({ type: 'LineString', coordinates: line }, ''), ...numbers];
    }

    /** @param {(mall_id: string) => boolean} shown @param {{kind: string, id: string} | null} selection */
    update(shown, selection) {
      const features = this.wanted(shown, selection).flatMap((trip) => this.features(trip));
      const stamp = JSON.stringify(features);
      if (stamp === this.stamp) return;
      this.stamp = stamp;
      this.drawn = { type: 'FeatureCollection', features };
      this.map?.getSource(SOURCE)?.setData(this.drawn);
    }

    attach(map) {
      this.map = map;
      if (!map.getSource(SOURCE)) map.addSource(SOURCE, { type: 'geojson', data: this.drawn });
      if (map.getLayer(STOPS)) return;
      const line = (id, width, more) => ({ id, type: 'line', source: SOURCE, filter: ['==', ['geometry-type'], 'LineString'],
        layout: { 'line-join': 'round' }, paint: { 'line-width': width, 'line-opacity': SHADE, ...more } });
      map.addLayer(line(CASING, 5, {}));
      map.addLayer(line(LINES, ['case', ['get', 'chosen'], 2.6, 1.8], { 'line-dasharray': [2.2, 1.8] }));
      map.addLayer({ id: STOPS, type: 'symbol', source: SOURCE, filter: ['==', ['geometry-type'], 'Point'],
        layout: { 'text-field': ['get', 'words'], 'text-size': 15, 'text-anchor': 'bottom-right', 'text-offset': [-0.5, -0.2], 'text-allow-overlap': true } });
      this.paint();
    }

    paint() {
      if (!this.map?.getLayer(STOPS)) return;
      const [ink, ground] = [mallard.theme.colour('trip'), mallard.theme.colour('edge')];
      this.map.setPaintProperty(CASING, 'line-color', ground);
      this.map.setPaintProperty(LINES, 'line-color', ink);
      this.map.setPaintProperty(STOPS, 'text-color', ink);
      this.map.setPaintProperty(STOPS, 'text-halo-color', ground);
      this.map.setPaintProperty(STOPS, 'text-halo-width', 2);
    }
  }

  mallard.TripLayer = TripLayer;
})(window.mallard);
