/**
 * The queue: which orders stand in which tab, in which order, and their rows in the grid.
 * It must not decide anything about an order; risk and ETA are the floor's. What a row is sorted and filtered by is
 * kept apart from what it shows, and stands still while the pointer is over the grid: values change, rows do not move.
 *
 * @typedef {{id: string, stores: string, items: number, status: string, breach: number, breach_words: string,
 *   dispatch: string, dispatch_words: string, advice: string, times: string, times_words: string, risk: string, mall_id: string, tabs: string[], still: any}} Row
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const GRID = 'queue';
  const QUEUED = new Set(['placed', 'ready']);
  const GIVEN = new Set(['assigned', 'enroute_to_pickup', 'arrived_at_pickup']);
  const NEAR_BREACH_MIN = 20; // an order nobody carries, this close to its promise, needs a hand
  const SOON_MS = 5 * 60000; // a suggestion asks for a person when its driver has to set off within this
  const CARED_FOR = new Set(['planned', 'waits']); // the autopilot gives it out in time; late or at risk it would say so
  const DECIDES_ALONE = new Set(['off', 'auto']); // modes in which a suggestion asks nothing of anybody
  const ADVICE_WORDS = { waits: 'Waits', planned: 'Planned', suggested: 'Suggested', failed: 'Failed', left_to_people: 'Left to people' };
  const AFTER_LEAVING_MS = 1200;
  const STATUS_WORDS = { placed: 'Preparing', ready: 'Ready', assigned: 'Assigned', enroute_to_pickup: 'To store',
    arrived_at_pickup: 'At store', picked_up: 'Collected', enroute_to_dropoff: 'On the way', arrived_at_dropoff: 'At the door',
    delivered: 'Delivered', cancelled: 'Cancelled', failed: 'Failed', returning: 'Returning', returned: 'Returned' };
  const EMPTY_WORDS = {
    needs: 'Nothing needs a hand: no order is late, at risk, failed by the autopilot, or waiting for a person to decide.',
    unassigned: 'Every open order has a driver.',
    at_mall: 'No order is waiting to be collected by its driver.',
    on_the_way: 'No order is on its way to a door.',
    done: 'Nothing has been delivered, cancelled or returned in the last hour.',
    all: 'There are no orders on this floor yet.',
  };

  class Queue {
    /** @param {any} model @param {{open: (kind: string, id: string) => void}} act
     *  @param {(mall_id: string) => boolean} shown */
    constructor(model, act, shown) {
      this.model = model;
      this.act = act;
      this.shown = shown;
      this.tab = 'needs';
      /** @type {Map<string, Row>} */ this.rows = new Map();
      /** @type {Set<string>} */ this.waiting = new Set(); // rows whose place is out of date while held
      this.inside = false;
      this.movedAt = -Infinity;
      this.listen();
      setInterval(() => this.tick(), 1000);
    }

    listen() {
      document.addEventListener('pointermove', (event) => {
        const over = event.target instanceof Element && event.target.closest('#queue-box') !== null;
        if (over || this.inside) this.movedAt = performance.now();
        this.inside = over && event.pointerType !== 'touch';
      }, { passive: true });
      document.documentElement.addEventListener('pointerleave', () => { this.inside = false; });
      const find = setInterval(() => {
        const api = window.dash_ag_grid?.getApi && mallard.gridApi(GRID);
        if (!api) return;
        clearInterval(find);
        this.grid = api;
        if (window.matchMedia('(max-width: 900px)').matches) api.setColumnsVisible(['stores', 'items', 'times'], false); // what is left fits
        api.addEventListener('rowClicked', (event) => this.act.open('order', event.data.id));
        api.addEventListener('cellKeyDown', (event) => {
          if (event.event.key === 'Enter') this.act.open('order', event.data.id);
        });
        api.addEventListener('modelUpdated', () => this.say());
        this.refresh(this.model.orders.keys());
      }, 100);
    }

    held() { return this.inside || performance.now() - this.movedAt < AFTER_LEAVING_MS; }

    // ------------------------------------------------------------ rows

    /** @param {any} order @returns {Row} */
    row(order) {
      const at_ms = this.model.floorNow(performance.now());
      const ended = mallard.isEnded(order);
      const breach = (order.due_ms - (ended ? order.ended_ms ?? order.updated_ms : order.eta_dropoff_ms ?? at_ms)) / 60000;
      const dispatch = this.dispatch(order, at_ms);
      const clock = (ms) => mallard.clock(ms, order.mall_id);
      const row = {
        id: order.id, mall_id: order.mall_id, items: order.items, ...dispatch, breach,
        breach_words: ended ? 'ended' : breach < 0 ? `late by ${Math.round(-breach)} min` : `${Math.round(breach)} min to spare`,
        stores: order.stores.map((store) => mallard.storeName(store)).join(', '),
        status: (order.held ? 'Held · ' : order.pinned ? 'Pinned · ' : '') + (order.offered_until_ms ? 'Offered' : STATUS_WORDS[order.status] || order.status),
        times: `${ended ? clock(order.ended_ms ?? order.updated_ms) : order.eta_dropoff_ms ? clock(order.eta_dropoff_ms) : '–'} / ${clock(order.due_ms)}`,
        times_words: mallard.times(order),
        risk: ended ? 'ended' : order.risk, tabs: this.tabsOf(order, breach, at_ms), still: null,
      };
      row.still = { ...row };
      return row;
    }

    /** Its driver, or what the autopilot makes of it. @param {any} order @param {number} at_ms
     *  @returns {{dispatch: string, dispatch_words: string, advice: string}} */
    dispatch(order, at_ms) {
      const name = (id) => this.model.drivers.get(id)?.name || id;
      if (order.offered_until_ms && order.driver_id) {
        const left = `${name(order.driver_id)} · ${mallard.left(order.offered_until_ms - at_ms)}`;
        return { dispatch: left, dispatch_words: `Offered to ${left}; no answer yet`, advice: 'offered' };
      }
      const { advice } = order;
      if (order.driver_id || !advice || mallard.isEnded(order)) {
        const driver = order.driver_id ? name(order.driver_id) : '';
        return { dispatch: driver, dispatch_words: driver, advice: '' };
      }
      const word = ADVICE_WORDS[advice.word] || advice.word;
      const to = advice.driver_id ? name(advice.driver_id) : '';
      const wait = advice.word === 'waits' && advice.depart_ms ? mallard.span(advice.depart_ms - at_ms) : '';
      const more = wait || (advice.word === 'failed' || !to ? advice.reason : to) || '';
      const words = [word, to && `to ${to}`, wait && `for ${wait}`].filter(Boolean).join(' ');
      return { dispatch: more ? `${word} · ${more}` : word, dispatch_words: [words, advice.reason].filter(Boolean).join(': '), advice: advice.word };
    }

    /** Whether a person is to decide about it now. @param {any} order @param {boolean} near its breach @param {number} at_ms */
    #asks(order, near, at_ms) {
      const word = order.advice?.word;
      if (word === 'failed') return true;
      const soon = !(order.advice?.depart_ms > at_ms + SOON_MS);
      if (word === 'suggested' && soon && !DECIDES_ALONE.has(this.model.modes.get(order.mall_id))) return true;
      return near && !CARED_FOR.has(word);
    }

    /** @param {any} order @param {number} breach minutes @param {number} at_ms @returns {string[]} */
    tabsOf(order, breach, at_ms) {
      if (mallard.isEnded(order)) return ['done', 'all'];
      const place = QUEUED.has(order.status) ? 'unassigned' : GIVEN.has(order.status) ? 'at_mall' : 'on_the_way';
      const lost = order.driver_id && this.model.drivers.get(order.driver_id)?.state === 'silent';
      const needs = order.risk !== 'on_time' || lost || order.status === 'failed'
        || (place === 'unassigned' && this.#asks(order, breach < NEAR_BREACH_MIN, at_ms));
      return needs ? ['needs', place, 'all'] : [place, 'all'];
    }

    /** Brings rows up to date. @param {Iterable<string>} ids */
    refresh(ids) {
      if (!this.grid) return;
      const held = this.held();
      const change = { add: [], update: [], remove: [] };
      for (const id of ids) {
        const order = this.model.orders.get(id);
        const before = this.rows.get(id);
        if (!order || !this.shown(order.mall_id)) {
          if (before) { change.remove.push(before); this.rows.delete(id); this.waiting.delete(id); }
          continue;
        }
        const row = this.row(order);
        if (before && held) { row.still = before.still; this.waiting.add(id); }
        else this.waiting.delete(id);
        this.rows.set(id, row);
        (before ? change.update : change.add).push(row);
      }
      if (change.add.length || change.update.length || change.remove.length) this.grid.applyTransactionAsync(change);
      this.count();
    }

    /** Once a second: minutes that ran down, rows whose place may be put right. */
    tick() {
      if (!this.grid) return;
      const stale = [...this.rows.values()].filter((row) => row.risk !== 'ended').map((row) => row.id);
      const due = Math.floor(performance.now() / 1000) % 15 === 0 ? stale : [];
      if (!this.held()) this.refresh(new Set([...this.waiting, ...due]));
      const note = document.getElementById('queue-held');
      if (note) note.textContent = this.inside && this.waiting.size ? 'Rows hold still while the pointer is here' : '';
    }

    /** After a choice of malls: rows come and go as a whole. */
    reset() { this.movedAt = -Infinity; this.inside = false; this.refresh([...new Set([...this.model.orders.keys(), ...this.rows.keys()])]); }

    // ------------------------------------------------------------ tabs, search, words

    count() {
      const counts = {};
      for (const row of this.rows.values()) for (const tab of row.tabs) counts[tab] = (counts[tab] || 0) + 1;
      document.querySelectorAll('[data-count]').forEach((badge) => { badge.textContent = String(counts[badge.dataset.count] || 0); });
    }

    /** @param {string} tab */
    choose(tab) {
      this.tab = tab;
      document.querySelectorAll('[data-tab]').forEach((button) => button.setAttribute('aria-selected', String(button.dataset.tab === tab)));
      this.movedAt = -Infinity;
      this.grid?.onFilterChanged();
      this.say();
    }

    /** @param {string} words */
    search(words) {
      this.grid?.setGridOption('quickFilterText', words);
      this.searched = words;
      this.say();
    }

    /** An empty tab says why it is empty. */
    say() {
      const box = document.getElementById('queue-empty');
      if (!box || !this.grid) return;
      box.hidden = this.grid.getDisplayedRowCount() > 0;
      box.textContent = this.searched ? `No order here matches “${this.searched}”.`
        : this.model.frames ? EMPTY_WORDS[this.tab] : 'Connecting to the floor …';
    }

    /** @param {any} row @returns {boolean} */
    passes(row) { return row.still.tabs.includes(this.tab); }

    // ------------------------------------------------------------ walking

    /** Ids in the order shown. @returns {string[]} */
    listed() {
      const ids = [];
      this.grid?.forEachNodeAfterFilterAndSort((node) => ids.push(node.data.id));
      return ids;
    }

    /** The order `by` rows from `id`; the first when `id` is not listed. @param {string | null} id @param {number} by */
    step(id, by) {
      const ids = this.listed();
      const at = id ? ids.indexOf(id) : -1;
      return at < 0 ? ids[0] : ids[Math.max(0, Math.min(ids.length - 1, at + by))];
    }

    /** @param {string | null} id the order selected, or null */
    mark(id) {
      if (!this.grid) return;
      const node = id ? this.grid.getRowNode(id) : null;
      this.grid.deselectAll();
      if (!node) return;
      node.setSelected(true);
      if (node.displayed) this.grid.ensureNodeVisible(node);
    }
  }

  mallard.Queue = Queue;
  mallard.gridApi = (id) => { try { return window.dash_ag_grid.getApi(id); } catch { return null; } }; // throws until it is there

  window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions || {}, {
    /** A comparator by the value a row stands still with; ties go to the id, so the order is total. */
    queueBy: (field) => (_a, _b, left, right) => {
      const [a, b] = [left.data.still, right.data.still];
      return a[field] < b[field] ? -1 : a[field] > b[field] ? 1 : a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
    },
    queuePasses: (node) => mallard.queue?.passes(node.data) ?? true,
    queueBreach: (params) => (params.data.risk === 'ended' ? '' : params.value < 0 ? `late ${Math.round(-params.value) || '<1'}` : String(Math.round(params.value))),
    queueTheme: (theme) => theme.withParams({
      backgroundColor: 'var(--surface)', foregroundColor: 'var(--text)', headerBackgroundColor: 'var(--surface)', headerTextColor: 'var(--dim)',
      borderColor: 'var(--line)', rowHoverColor: 'var(--raised)', selectedRowBackgroundColor: 'var(--chosen)', accentColor: 'var(--accent)',
      fontFamily: 'inherit', fontSize: 12.5, headerFontSize: 11.5, cellHorizontalPadding: 8, wrapperBorder: false, wrapperBorderRadius: 0,
      headerColumnResizeHandleColor: 'transparent',
    }),
  });
})(window.mallard);
