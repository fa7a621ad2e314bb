/**
 * Binds the moving layers to Plotly's map and keeps them there: order of layers, theme, hover, click, labels, zoom.
 * It must not fetch, and never calls setStyle: what moves is drawn by the layers, what stands still by Plotly.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const GROUND = 'ground';
  const NAMES = 'mallard-names';
  const REACH_PX = 16;
  const FAR_ZOOM = 9; // below, a mall is one label with its figures
  const DRIVER_KINDS = { free: 0, busy: 1, at_store: 2, silent: 3, on_break: 4 };
  const ORDER_KINDS = { on_time: 6, at_risk: 7, late: 8 };
  const DOUBTED = new Set(['jump', 'inaccurate']);
  const RING_FROM_MS = 12000;

  /** Radius in px of the age ring: none while fresh, then wider with age up to 24. @param {number} age_ms */
  function ringRadius(age_ms) {
    return age_ms < RING_FROM_MS ? 0 : Math.min(24, 9 + (age_ms - RING_FROM_MS) / 8000);
  }

  class LiveMap {
    /** @param {any} model @param {{open: (kind: string, id: string) => void, close: () => void}} act */
    constructor(model, act) {
      this.model = model;
      this.act = act;
      this.styleCalls = 0;
      this.shown = (_mall_id) => true;
      this.selection = null;
      this.fitted = false; // whether somebody, or the first look at the malls, has set the view
      this.places = { type: 'FeatureCollection', features: [] };
      /** @type {string[]} */ this.malls = [];
      this.orders = new mallard.SpriteLayer('mallard-orders', 0, FAR_ZOOM);
      this.drivers = new mallard.SpriteLayer('mallard-drivers', 1500, FAR_ZOOM);
      this.drivers.at_ms = () => model.floorNow(performance.now());
      this.hexes = new mallard.HexLayer(model);
      this.trips = new mallard.TripLayer(model, (mall_id) => this.#mallPlace(mall_id));
      this.ghosts = mallard.page.name === 'room' ? new mallard.Ghosts(model) : null;
      mallard.theme.onChange(() => this.paint());
      setInterval(() => this.attach(), 500);
    }

    get graph() { return document.querySelector('#map .js-plotly-plot'); }

    /** Finds Plotly's map (private to Plotly; a browser test notices when it moves) and adds what is missing. */
    attach() {
      const map = this.graph?._fullLayout?.map?._subplot?.map;
      if (!map) return;
      if (map !== this.map) {
        if (!map.isStyleLoaded()) return; // once it was, it only says whether tiles are still coming
        this.#bind(map);
      }
      this.hexes.attach(map);
      this.trips.attach(map);
      this.ghosts?.attach(map);
      this.#attachNames();
      for (const layer of [this.orders, this.drivers]) if (!map.getLayer(layer.id)) map.addLayer(layer);
      this.#raise();
      if (!this.fitted && this.places.features.length) this.fit();
    }

    #bind(map) {
      this.map = map;
      const setStyle = map.setStyle.bind(map);
      map.setStyle = (...args) => { this.styleCalls += 1; return setStyle(...args); };
      map.on('styledata', () => this.attach());
      map.on('click', (event) => this.#click(event));
      map.on('mousemove', (event) => this.#hover(event));
      map.on('mouseout', () => this.#tip(null));
      map.on('render', () => this.#placeLabels());
      map.on('zoomend', () => this.#farLabels());
      for (const hand of ['wheel', 'pointerdown']) { // a person's hand goes before the first look at the malls
        map.getCanvasContainer().addEventListener(hand, () => { this.fitted = true; }, { once: true, passive: true });
      }
      map.getCanvas().setAttribute('aria-label', 'Map of drivers and drop-offs; the queue lists the same orders');
      this.graph.on('plotly_afterplot', () => this.attach());
      this.paint();
    }

    /** Plotly puts its traces on top at each update; drivers belong above them. */
    #raise() {
      const order = this.map.getLayersOrder();
      const mine = [...this.trips.layers, ...(this.ghosts?.layers || []), NAMES, this.orders.id, this.drivers.id];
      if (mine.every((id, i) => order[order.length - mine.length + i] === id)) return;
      mine.forEach((id) => this.map.moveLayer(id));
    }

    #attachNames() {
      if (this.map.getLayer(NAMES)) return;
      if (!this.map.getSource(NAMES)) this.map.addSource(NAMES, { type: 'geojson', data: this.#storePoints() });
      this.map.addLayer({
        id: NAMES, type: 'symbol', source: NAMES, minzoom: 15.2,
        layout: { 'text-field': ['get', 'name'], 'text-size': 11, 'text-anchor': 'top', 'text-offset': [0, 0.6], 'text-optional': true },
        paint: { 'text-color': mallard.theme.colour('map-text'), 'text-halo-color': mallard.theme.colour('map-ground'), 'text-halo-width': 1.2 },
      });
    }

    #storePoints() {
      const features = this.places.features.filter((place) => place.properties.kind === 'store');
      return { type: 'FeatureCollection', features };
    }

    /** @param {any} places the mall file @param {string[]} malls those shown; empty is all */
    setPlaces(places, malls) {
      this.places = places;
      this.map?.getSource(NAMES)?.setData(this.#storePoints());
      this.setMalls(malls);
    }

    /** @param {string[]} malls */
    setMalls(malls) {
      this.malls = malls;
      if (this.fitted) this.fit();
      this.#farLabels();
    }

    /** Repaints for the scheme in force, without touching the style. */
    paint() {
      if (!this.map?.getLayer(GROUND)) return;
      this.map.setPaintProperty(GROUND, 'background-color', mallard.theme.colour('map-ground'));
      if (this.map.getLayer(NAMES)) {
        this.map.setPaintProperty(NAMES, 'text-color', mallard.theme.colour('map-text'));
        this.map.setPaintProperty(NAMES, 'text-halo-color', mallard.theme.colour('map-ground'));
      }
      this.trips.paint();
      this.ghosts?.paint();
      this.hexes.paint();
      this.hexes.show(this.hexes.layer);
      this.orders.paint();
      this.drivers.paint();
    }

    // ------------------------------------------------------------ what moves

    /** @param {{drivers: Iterable<string>, gone: Iterable<string>, orders: Iterable<string>, cells: Iterable<string>}} change
     *  @param {(mall_id: string) => boolean} shown @param {{kind: string, id: string} | null} selection */
    update(change, shown, selection) {
      const now = performance.now();
      for (const id of change.gone) this.drivers.drop(id);
      for (const id of change.drivers) this.#putDriver(id, shown, selection, now);
      for (const id of change.orders) this.#putOrder(id, shown, selection, now);
      this.hexes.update(change.cells);
      this.trips.update(shown, selection);
      this.ghosts?.update(shown);
      this.drivers.repaint();
      if (this.map && this.map.getZoom() < FAR_ZOOM) this.#farLabels();
    }

    #putDriver(id, shown, selection, now) {
      const driver = this.model.drivers.get(id);
      const kind = driver && DRIVER_KINDS[driver.state];
      if (kind === undefined || driver.lat === null || !shown(driver.mall_id)) { this.drivers.drop(id); return; }
      const blind = kind === 1 && driver.heading_deg === null;
      const chosen = selection?.kind === 'driver' && selection.id === id;
      this.drivers.put(id, {
        lat: driver.lat, lng: driver.lng, kind: blind ? 5 : kind, heading: ((driver.heading_deg || 0) * Math.PI) / 180,
        ring: (at_ms) => ringRadius(mallard.Model.age(driver, at_ms)),
        flags: (DOUBTED.has(driver.verdict) ? mallard.SUSPECT : 0) | (chosen ? mallard.SELECTED : 0),
      }, now);
    }

    #putOrder(id, shown, selection, now) {
      const order = this.model.orders.get(id);
      if (!order || mallard.isEnded(order) || !shown(order.mall_id)) { this.orders.drop(id); return; }
      const chosen = selection?.kind === 'order' && selection.id === id;
      this.orders.put(id, { ...order.dropoff, kind: ORDER_KINDS[order.risk], flags: chosen ? mallard.SELECTED : 0 }, now);
    }

    /** Redraws all marks: after a choice of malls or a selection. */
    redraw(shown, selection) {
      this.selection = selection;
      this.shown = shown;
      const change = { gone: [], drivers: this.model.drivers.keys(), orders: this.model.orders.keys(), cells: [] };
      this.update(change, shown, selection);
      this.#label();
    }

    /** Takes every mark off: the next picture is of another moment, and nothing moves from here to there. */
    forget() {
      this.drivers.marks.clear();
      this.orders.marks.clear();
      this.ghosts?.forget();
    }

    /** Suggested trips of the malls shown, all of them or only that of the order selected. @param {boolean} all */
    showTrips(all) {
      this.trips.all = all;
      document.querySelector('[data-act="trips"]')?.setAttribute('aria-pressed', String(all));
      this.trips.update(this.shown, this.selection);
    }

    /** An old picture must look old. @param {boolean} stale */
    setStale(stale) {
      const fade = stale ? 1 : 0;
      if (this.drivers.fade === fade) return;
      this.drivers.fade = this.orders.fade = fade;
      this.drivers.repaint();
      document.getElementById('pane-map')?.classList.toggle('stale', stale);
    }

    // ------------------------------------------------------------ pointer

    /** What is drawn at a place. @returns {{kind: string, id: string} | null} */
    pick(lng, lat) {
      if (!this.map) return null;
      const driver = this.drivers.pick(lng, lat, REACH_PX);
      if (driver) return { kind: 'driver', id: driver };
      const order = this.orders.pick(lng, lat, REACH_PX);
      return order ? { kind: 'order', id: order } : null;
    }

    #click(event) {
      const { lng, lat } = event.lngLat;
      const hit = this.pick(lng, lat) || this.ghosts?.pick(event.point);
      const mall = hit ? null : this.#mallAt(lng, lat);
      if (hit) this.act.open(hit.kind, hit.id);
      else if (mall) this.act.open('mall', mall);
      else this.act.close();
    }

    #mallAt(lng, lat) {
      const within = (ring) => ring.reduce((inside, [x, y], i) => {
        const [px, py] = ring[(i || ring.length) - 1];
        return (y > lat) !== (py > lat) && lng < ((px - x) * (lat - y)) / (py - y) + x ? !inside : inside;
      }, false);
      const malls = this.places.features.filter((place) => !place.properties.mall_id);
      return malls.find((mall) => within(mall.geometry.coordinates[0]))?.id || null;
    }

    #hover(event) {
      const hit = this.pick(event.lngLat.lng, event.lngLat.lat);
      const ghost = hit ? null : this.ghosts?.at(event.point);
      this.map.getCanvas().style.cursor = hit || ghost ? 'pointer' : '';
      const words = hit ? mallard.words[hit.kind](hit.id) : ghost?.words || this.hexes.words(event.point);
      this.#tip(words, event.point);
    }

    /** @param {string | null} words @param {{x: number, y: number}} [point] */
    #tip(words, point) {
      const tip = document.getElementById('map-tip');
      if (!tip) return;
      tip.hidden = !words;
      if (!words || !point) return;
      tip.textContent = words;
      const width = this.map.getContainer().clientWidth;
      tip.style.transform = `translate(${Math.min(point.x + 14, width - 190)}px, ${point.y + 14}px)`;
    }

    // ------------------------------------------------------------ labels over the map

    #label() {
      const box = document.getElementById('map-labels');
      if (!box) return;
      box.querySelector('.of-selection')?.remove();
      const layer = this.selection?.kind === 'driver' ? this.drivers : this.selection?.kind === 'order' ? this.orders : null;
      if (!layer || !layer.marks.has(this.selection.id)) return;
      const label = document.createElement('span');
      label.className = 'map-label of-selection';
      const name = this.model.drivers.get(this.selection.id)?.name;
      label.textContent = name || this.selection.id;
      label.place = () => layer.where(this.selection.id);
      box.append(label);
      this.#placeLabels();
    }

    /** From afar a mall is its name and two figures. Labels are kept, not remade, so that a click never falls between. */
    #farLabels() {
      const box = document.getElementById('map-labels');
      if (!box || !this.map) return;
      const far = this.map.getZoom() < FAR_ZOOM;
      for (const mall of this.places.features.filter((place) => !place.properties.mall_id)) {
        const label = box.querySelector(`[data-go-mall="${mall.id}"]`) || this.#farLabel(box, mall);
        label.classList.toggle('away', !far);
        const kpis = this.model.kpis.get(mall.id);
        label.textContent = `${mall.properties.name}${kpis ? ` · ${kpis.open} open · ${kpis.late} late` : ''}`;
      }
      if (far) this.#placeLabels();
    }

    #farLabel(box, mall) {
      const label = document.createElement('button');
      label.className = 'map-label of-mall';
      label.dataset.goMall = mall.id;
      const [lng, lat] = LiveMap.#middle(mall);
      label.place = () => ({ lng, lat });
      box.append(label);
      return label;
    }

    #placeLabels() {
      if (!this.map) return; // frames may come before the map
      for (const label of document.getElementById('map-labels')?.children || []) {
        const place = label.place();
        label.hidden = !place;
        if (!place) continue;
        const { x, y } = this.map.project([place.lng, place.lat]);
        const flipped = x > this.map.getContainer().clientWidth - 110; // near the right edge it stands on the left
        label.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)${flipped ? ' translateX(calc(-100% - 24px))' : ''}`;
      }
    }

    // ------------------------------------------------------------ view

    /** Shows the malls chosen, whole; one mall with the streets around it. */
    fit() {
      const malls = this.places.features.filter((place) => !place.properties.mall_id
        && (!this.malls.length || this.malls.includes(place.id)));
      if (!malls.length || !this.map) return;
      const bounds = malls.map((mall) => LiveMap.#reach(mall)).reduce((all, one) => [
        Math.min(all[0], one[0]), Math.min(all[1], one[1]), Math.max(all[2], one[2]), Math.max(all[3], one[3])]);
      const camera = this.map.cameraForBounds(bounds, { padding: 24 });
      if (!camera) return;
      this.fitted = true;
      this.#look(camera.center, camera.zoom);
    }

    /** @returns {[number, number] | null} */
    #mallPlace(mall_id) {
      const mall = this.places.features.find((place) => place.id === mall_id);
      return mall ? /** @type {[number, number]} */ (LiveMap.#middle(mall)) : null;
    }

    static #middle(mall) {
      const ring = mall.geometry.coordinates[0];
      return [0, 1].map((axis) => (Math.min(...ring.map((at) => at[axis])) + Math.max(...ring.map((at) => at[axis]))) / 2);
    }

    /** Three quarters of the radius served: the rim is nearly empty. */
    static #reach(mall) {
      const [lng, lat] = LiveMap.#middle(mall);
      const north = ((mall.properties.service_radius_m || 4000) * 0.75) / 111195;
      const east = north / Math.cos((lat * Math.PI) / 180);
      return [lng - east, lat - north, lng + east, lat + north];
    }

    /** @param {number} by */
    zoom(by) { if (this.map) this.#look(this.map.getCenter(), this.map.getZoom() + by); }

    /** Brings a mark into view if it is outside of it. */
    reveal(kind, id) {
      const place = (kind === 'driver' ? this.drivers : this.orders).where(id);
      if (place && this.map && !this.map.getBounds().contains([place.lng, place.lat])) this.#look(place, this.map.getZoom());
    }

    /** Moves the view through the figure Dash holds: any other way, a figure update under way would bring the old one back. */
    #look(center, zoom) {
      const { Patch, set_props: setProps } = window.dash_clientside;
      const place = { lon: center.lng, lat: center.lat };
      setProps('map', { figure: new Patch().assign(['layout', 'map', 'center'], place).assign(['layout', 'map', 'zoom'], zoom).build() });
    }

    /** Pixel place of a driver as drawn, inside the page; for tests. */
    project(id) {
      const place = this.drivers.where(id);
      if (!place || !this.map) return null;
      const { x, y } = this.map.project([place.lng, place.lat]);
      const box = this.map.getContainer().getBoundingClientRect();
      return { x: box.left + x, y: box.top + y };
    }
  }

  mallard.LiveMap = LiveMap;
})(window.mallard);
