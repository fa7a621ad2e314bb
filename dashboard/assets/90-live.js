/**
 * Puts the parts together: frames go to the model, and what changed to map, queue and strip. No server callback is on
 * that path. `window.mallard` also holds the counters that browser tests read.
 * It must not do the work of any part.
 */
(function (mallard) {
  'use strict';
  /** @type {Map<string, {name: string, timezone: string}>} */
  const malls = new Map();
  /** @type {Map<string, string>} */
  const stores = new Map();
  /** @type {Map<string, Intl.DateTimeFormat>} */
  const formats = new Map();
  let chosen = [];
  const AUTOPILOT_EVERY_MS = 10000;

  // ------------------------------------------------------------ words that several parts need

  function formatter(mall_id, options) {
    const zone = malls.get(mall_id)?.timezone || 'UTC';
    const name = `${zone}/${JSON.stringify(options)}`;
    if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', ...options }));
    return formats.get(name);
  }

  /** An instant on the mall's wall clock, as the recording had it. */
  mallard.clock = (ms, mall_id, seconds = false) => formatter(mall_id, { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) })
    .format(ms + (mallard.model.sign?.clock_offset_ms || 0));

  mallard.zone = (mall_id) => (malls.has(mall_id)
    ? formatter(mall_id, { timeZoneName: 'short' }).formatToParts(mallard.model.at_ms).find((part) => part.type === 'timeZoneName')?.value || '' : '');

  mallard.mallName = (id) => malls.get(id)?.name || id;

  mallard.storeName = (id) => stores.get(id) || id;

  const age = (ms) => (ms < 120000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60000)} min`);
  /** A span ahead in words, rounded down as the inspector does. @param {number} ms */
  mallard.span = (ms) => (ms <= 0 ? 'now' : ms < 120000 ? `${Math.floor(ms / 1000)} s` : `${Math.floor(ms / 60000)} min`);
  mallard.left = (ms) => (ms <= 0 ? 'offer lapsed' : `${mallard.span(ms)} left`);

  /** ETA with the times four of five come between, and the promise. @param {any} order */
  mallard.times = (order) => {
    const clock = (ms) => mallard.clock(ms, order.mall_id);
    const between = order.eta_low_ms && order.eta_high_ms ? ` (between ${clock(order.eta_low_ms)} and ${clock(order.eta_high_ms)})` : '';
    return `${order.eta_dropoff_ms && !mallard.isEnded(order) ? `ETA ${clock(order.eta_dropoff_ms)}${between}, ` : ''}promised ${clock(order.due_ms)}`;
  };

  const STATES = { free: 'free', busy: 'busy', at_store: 'at a store', silent: 'silent', on_break: 'on break', off_duty: 'off duty' };
  const DOUBTS = { jump: 'last ping not believed: a jump', inaccurate: 'last ping not believed: inaccurate', late: 'last ping came late' };

  mallard.words = {
    driver(id) {
      const driver = mallard.model.drivers.get(id);
      if (!driver) return '';
      const seen = age(mallard.Model.age(driver, mallard.model.floorNow(performance.now())));
      const load = driver.orders === 1 ? '1 order' : `${driver.orders} orders`;
      return [`${driver.name || id} · ${STATES[driver.state] || driver.state} · ${load}`, `seen ${seen} ago`, DOUBTS[driver.verdict]].filter(Boolean).join('\n');
    },
    order(id) {
      const order = mallard.model.orders.get(id);
      if (!order) return '';
      const said = order.driver_id && !order.offered_until_ms ? '' : mallard.queue.dispatch(order, mallard.model.floorNow(performance.now())).dispatch_words;
      return [`${id} · ${order.risk.replace('_', ' ')}`, mallard.times(order), said].filter(Boolean).join('\n');
    },
  };

  // ------------------------------------------------------------ malls

  const shown = (mall_id) => !chosen.length || chosen.includes(mall_id);

  mallard.chooseMalls = (ids) => window.dash_clientside.set_props('mall-filter', { value: ids });

  function applyMalls(ids) {
    chosen = ids || [];
    mallard.strip.malls = chosen;
    mallard.strip.figures();
    mallard.queue.reset();
    mallard.map.setMalls(chosen);
    mallard.map.redraw(shown, mallard.hands.selection);
    nameMalls();
    lookUpAutopilot();
  }

  /** The mall a dialog about one opens with. @returns {string | null} */
  mallard.firstMall = () => chosen[0] || mallard.model.orders.get(mallard.hands.selection?.id)?.mall_id || [...malls.keys()][0] || null;

  let lookUps = 0;
  function lookUpAutopilot() {
    if (!document.hidden && !mallard.replay?.gone) window.dash_clientside.set_props('autopilot-look-up', { data: { malls: chosen, n: ++lookUps } });
  }

  function nameMalls() {
    const label = document.getElementById('mall-label');
    const only = chosen.length === 1 ? chosen[0] : malls.size === 1 ? [...malls.keys()][0] : null;
    if (label) label.textContent = only ? malls.get(only)?.name || only : chosen.length ? `${chosen.length} malls` : 'All malls';
  }

  /** Names, zones and outlines; asked for until they come. */
  async function fetchPlaces() {
    const reply = await fetch('/api/v1/malls').catch(() => null);
    if (reply?.status === 410) return; // a room that was closed has none any more
    if (!reply?.ok) { setTimeout(fetchPlaces, 2000); return; }
    const places = await reply.json();
    for (const place of places.features) {
      place.id = place.id ?? place.properties.id;
      if (!place.properties.mall_id) malls.set(place.id, place.properties);
      else if (place.properties.kind === 'store') stores.set(place.id, place.properties.name);
    }
    mallard.map.setPlaces(places, chosen);
    mallard.queue.refresh(mallard.model.orders.keys());
    nameMalls();
    wake();
    lookUpAutopilot();
    setInterval(lookUpAutopilot, AUTOPILOT_EVERY_MS);
  }

  let wakes = 0;
  function wake() { window.dash_clientside.set_props('wake', { data: ++wakes }); }

  // ------------------------------------------------------------ frames

  /** @type {Set<string>} */ const begun = new Set();

  /** In a room, a snapshot of a mall that was there already is another moment: nothing glides from here to there. */
  function moved(frame) {
    if (mallard.page.name !== 'room' || frame.frame !== 'snapshot') return;
    if (!begun.has(frame.mall_id)) { begun.add(frame.mall_id); return; }
    mallard.map.forget();
    mallard.map.redraw(shown, mallard.hands.selection);
    mallard.hands.moved();
    mallard.queue.reset();
  }

  function take(frame) {
    const change = mallard.model.apply(frame, performance.now());
    mallard.frames = mallard.model.frames;
    mallard.map.update(change, shown, mallard.hands.selection);
    mallard.queue.refresh(change.mode ? mallard.model.orders.keys() : change.orders);
    moved(frame);
    if (change.mode) lookUpAutopilot();
    mallard.strip.figures();
    mallard.hands.look();
    const empty = document.getElementById('map-empty');
    if (empty) empty.hidden = true;
  }

  function link(up) {
    mallard.strip.up = up;
    mallard.strip.refused = !up;
  }

  // ------------------------------------------------------------ panes

  mallard.showPane = (pane) => { document.getElementById('floor')?.setAttribute('data-pane', pane); document.body.dataset.pane = pane; };

  function selected() {
    const { selection } = mallard.hands;
    mallard.queue.mark(selection?.kind === 'order' ? selection.id : null);
    mallard.map.redraw(shown, selection);
    if (selection && selection.kind !== 'mall') mallard.map.reveal(selection.kind, selection.id);
    if (selection && window.matchMedia('(max-width: 900px)').matches) mallard.showPane('inspect');
  }

  /** The handles between panes, by pointer and by arrow keys; widths are kept in this browser. */
  function bindHandles() {
    const floor = document.getElementById('floor');
    const width = (side, px) => {
      const within = Math.round(Math.max(260, Math.min(800, px)));
      floor.style.setProperty(`--${side}`, `${within}px`);
      try { localStorage.setItem(`mallard-${side}`, within); } catch { /* it then lasts as long as the page */ }
    };
    for (const side of ['left', 'right']) {
      let kept = null;
      try { kept = Number(localStorage.getItem(`mallard-${side}`)); } catch { /* nothing is kept */ }
      if (kept) width(side, kept);
    }
    const now = (side) => document.getElementById(side === 'left' ? 'pane-queue' : 'pane-inspect').getBoundingClientRect().width;
    document.querySelectorAll('[data-handle]').forEach((handle) => {
      const side = handle.dataset.handle;
      const sign = side === 'left' ? 1 : -1;
      handle.addEventListener('pointerdown', (event) => {
        const [from, start] = [event.clientX, now(side)];
        const move = (next) => width(side, start + sign * (next.clientX - from));
        handle.setPointerCapture(event.pointerId);
        handle.addEventListener('pointermove', move);
        handle.addEventListener('pointerup', () => handle.removeEventListener('pointermove', move), { once: true });
      });
      handle.addEventListener('keydown', (event) => {
        const by = { ArrowLeft: -24, ArrowRight: 24 }[event.key];
        if (by) width(side, now(side) + sign * by);
      });
    });
  }

  // ------------------------------------------------------------ start

  function start() {
    mallard.model = new mallard.Model();
    mallard.hands = new mallard.Hands(mallard.model, selected);
    const act = { open: (kind, id) => mallard.hands.open(kind, id), close: () => mallard.hands.close() };
    mallard.map = new mallard.LiveMap(mallard.model, act);
    mallard.strip = new mallard.Strip(mallard.model);
    mallard.strip.onStale = (stale) => mallard.map.setStale(stale);
    mallard.queue = new mallard.Queue(mallard.model, act, shown);
    mallard.feed = new mallard.Feed(take, link, () => mallard.replay?.closed());
    document.addEventListener('input', (event) => { if (event.target.id === 'queue-search') mallard.queue.search(event.target.value); });
    mallard.showPane('map');
    bindHandles();
    fetchPlaces();
    mallard.feed.open();
    const addressed = mallard.Hands.addressed();
    if (addressed) mallard.hands.open(...addressed);
    mallard.replay?.start();
  }

  /** A page without a floor: only the shell's own controls work. */
  function startShell() {
    mallard.model = new mallard.Model();
    mallard.hands = new mallard.Hands(mallard.model, () => {});
    wake();
    mallard.gallery?.start();
    mallard.insights?.start();
  }

  Object.assign(mallard, {
    frames: 0,
    outcomes: 0,
    /** @returns {number} calls of setStyle since the map was bound */
    setStyleCalls: () => mallard.map.styleCalls,
    /** @returns {number} drivers drawn in the last picture */
    drawnDrivers: () => mallard.map.drivers.drawn,
    pick: (lng, lat) => mallard.map.pick(lng, lat),
    project: (driver_id) => mallard.map.project(driver_id),
  });

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.mallard = {
    malls(ids) { applyMalls(ids); },
    layer(name) { mallard.map.hexes.show(name); },
    outcome(outcome) { mallard.hands.outcome(outcome); },
    replayOpened(opened) { mallard.gallery.opened(opened); },
    replayStatus(answer) { mallard.replay?.take(answer); },
    replayMarks(marks) { mallard.replay?.marks(marks); },
    ghosts(answer) { mallard.map.ghosts?.take(answer); },
    handOver(clicks, handing, target) {
      if (!clicks || !handing) return window.dash_clientside.no_update;
      mallard.hands.decide({ action: 'hand_over', driver_id: handing.driver_id, ...(target && target !== 'queue' ? { to_driver_id: target } : {}) });
      return false;
    },
  };

  const ready = setInterval(() => { // Dash draws the layout some time after this script runs
    if (!document.getElementById('queue-box') || !window.dash_clientside.set_props) return;
    clearInterval(ready);
    mallard.page.mark();
    if (!mallard.page.floor) startShell();
    else start();
  }, 30);
})(window.mallard);
