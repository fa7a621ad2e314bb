/**
 * What a person does: selecting, choosing a candidate, deciding, by click or by key.
 * It must not speak to the floor: it writes Dash stores, and callbacks carry decisions out. The version a decision names
 * is the one that was on screen.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const REFRESH_MS = 10000;
  const SOON_MS = 700;
  const set = (id, data) => window.dash_clientside.set_props(id, { data });
  const opened = (id, is) => window.dash_clientside.set_props(id, { opened: is });
  const one = (selector) => /** @type {HTMLElement | null} */ (document.querySelector(selector));

  /** A key that makes a repeat harmless; randomUUID needs TLS, this does not. */
  const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');

  class Hands {
    static KINDS = ['order', 'driver', 'mall'];

    /** @param {any} model @param {() => void} onSelect */
    constructor(model, onSelect) {
      this.model = model;
      this.onSelect = onSelect;
      /** @type {{kind: string, id: string} | null} */ this.selection = null;
      /** @type {{order_id: string, driver_id: string} | null} */ this.choice = null;
      this.unasked = false; // whether the choice was made by the script, not by a person
      /** @type {any} */ this.intent = null;
      /** @type {any} */ this.unsure = null;
      /** @type {string[]} */ this.done = []; // ids of own commands, newest last
      this.n = 0;
      this.seen = '';
      this.route = '';
      this.shownAt = 0;
      document.addEventListener('click', (event) => this.#click(event));
      document.addEventListener('keydown', (event) => mallard.keys(event, this));
    }

    // ------------------------------------------------------------ selecting

    /** @param {string} kind @param {string} id */
    open(kind, id) {
      if (this.selection?.kind === kind && this.selection.id === id) return;
      this.selection = { kind, id };
      this.choose(null);
      this.#write();
      this.onSelect();
      this.#considerSuggestion();
    }

    /** What the address selects. @returns {[string, string] | null} */
    static addressed() {
      const query = new URLSearchParams(location.search);
      const kind = Hands.KINDS.find((name) => query.get(name));
      return kind ? [kind, /** @type {string} */ (query.get(kind))] : null;
    }

    /** The floor is at another moment: what was chosen and done there is not of this one. */
    moved() {
      this.choose(null);
      this.done = [];
      this.seen = '';
      this.shownAt = -Infinity;
    }

    /** An order that waits for a yes opens with the effect of the yes in view, so that one key gives it. */
    #considerSuggestion() {
      const order = this.selection?.kind === 'order' ? this.model.orders.get(this.selection.id) : null;
      if (!Hands.#suggests(order) || this.cannot()) return;
      this.choose(order.advice.driver_id);
      this.unasked = true;
    }

    /** @param {any} order */
    static #suggests(order) { return order?.advice?.word === 'suggested' && order.advice.driver_id && !order.driver_id; }

    /** An effect nobody asked for goes when what it is the effect of is suggested no more: one key must not do another thing. */
    #dropStale() {
      if (!this.choice || !this.unasked) return;
      const order = this.model.orders.get(this.choice.order_id);
      if (!Hands.#suggests(order) || order.advice.driver_id !== this.choice.driver_id) this.choose(null);
    }

    close() {
      if (this.choice) { this.choose(null); return; }
      if (!this.selection) return;
      this.selection = null;
      this.#write();
      this.onSelect();
    }

    #moment() {
      return { n: ++this.n, at_ms: Math.round(this.model.floorNow(performance.now())), offset_ms: this.model.sign?.clock_offset_ms || 0 };
    }

    #write() {
      this.shownAt = performance.now();
      this.seen = this.#stamp();
      set('selection', this.selection && { ...this.selection, ...this.#moment() });
      document.body.dataset.selected = this.selection?.kind || '';
      const query = new URLSearchParams(location.search);
      for (const kind of Hands.KINDS) query.delete(kind);
      if (this.selection) query.set(this.selection.kind, this.selection.id);
      history.replaceState(history.state, '', query.size ? `?${query}` : location.pathname);
      this.#writeRoute();
    }

    /** What, when it changes, makes the inspector out of date. */
    #stamp() {
      if (this.selection?.kind === 'order') {
        const order = this.model.orders.get(this.selection.id);
        const { advice } = order || {};
        const said = advice ? `${advice.word}/${advice.driver_id}/${advice.reason}/${advice.trip}` : '';
        return order ? `${order.version}/${order.risk}/${order.status}/${Math.round((order.eta_dropoff_ms || 0) / 60000)}/${said}` : '';
      }
      if (this.selection?.kind !== 'driver') return '';
      const driver = this.model.drivers.get(this.selection.id);
      return driver ? `${driver.state}/${driver.verdict}/${this.#load(driver.id)}` : '';
    }

    #load(driver_id) {
      return [...this.model.orders.values()].filter((order) => order.driver_id === driver_id && !mallard.isEnded(order))
        .map((order) => `${order.id}:${order.status}`).sort().join();
    }

    #writeRoute() {
      const order = this.selection?.kind === 'order' ? this.model.orders.get(this.selection.id) : null;
      const driver_id = this.selection?.kind === 'driver' ? this.selection.id : order && !mallard.isEnded(order) ? order.driver_id : null;
      const stamp = driver_id ? `${driver_id}/${this.#load(driver_id)}` : '';
      if (stamp === this.route) return;
      this.route = stamp;
      set('route', { driver_id, stamp });
    }

    /** After each frame: refreshes the inspector if what it shows has changed, and now and then for the ages in it. */
    look() {
      if (!this.selection) return;
      this.#dropStale();
      const since = performance.now() - this.shownAt;
      if (since < SOON_MS || (this.#stamp() === this.seen && since < REFRESH_MS)) return;
      this.#write();
      if (this.choice) set('choice', { ...this.choice, ...this.#moment() });
    }

    // ------------------------------------------------------------ choosing

    /** @param {string | null} driver_id */
    choose(driver_id) {
      if (!driver_id && !this.choice) return;
      const order_id = this.selection?.kind === 'order' ? this.selection.id : null;
      this.unasked = false;
      this.choice = driver_id && order_id ? { order_id, driver_id } : null;
      document.querySelectorAll('[data-candidate]').forEach((row) => row.setAttribute('aria-checked', String(row.dataset.candidate === driver_id)));
      set('choice', this.choice && { ...this.choice, ...this.#moment() });
    }

    /** Accepts a suggestion: shows its effect first; once that stands there, commits what it shows. */
    accept(order_id, driver_id) {
      const commit = one(`#inspect-preview [data-act="commit"][data-order="${CSS.escape(order_id)}"][data-driver="${CSS.escape(driver_id)}"]`);
      if (commit) commit.click();
      else this.choose(driver_id);
    }

    // ------------------------------------------------------------ deciding

    /** Sends a decision. @param {Object<string, any>} intent */
    decide(intent) {
      const why = this.cannot();
      if (why) { this.tell(why); return; }
      const reason = /** @type {HTMLInputElement | null} */ (document.getElementById('reason'))?.value.trim();
      const name = this.model.drivers.get(intent.driver_id)?.name;
      this.intent = { ...intent, ...(reason && intent.action !== 'undo' ? { reason } : {}), ...(name ? { driver_name: name } : {}),
        key: newKey(), offset_ms: this.model.sign?.clock_offset_ms || 0 };
      set('intent', this.intent);
    }

    /** Why this person cannot act; empty if they can. */
    cannot() {
      return one('#who')?.dataset.role === 'viewer' ? 'You are logged in as viewer: you can look, not act.' : '';
    }

    /** @param {string} words */
    tell(words) {
      window.dash_clientside.set_props('notes', { sendNotifications: [{ action: 'show', id: `tell-${words}`, message: words, color: 'gray', autoClose: 4000 }] });
    }

    /** A command about the order in the inspector, as it stands there. */
    command(action, more = {}) {
      const card = one('#inspect-main [data-order]');
      if (!card) return;
      this.decide({ action, order_id: card.dataset.order, expected_version: Number(card.dataset.version), ...more });
    }

    sure(words, intent) {
      const why = this.cannot();
      if (why) { this.tell(why); return; }
      this.unsure = intent;
      window.dash_clientside.set_props('confirm-body', { children: words });
      opened('confirm', true);
    }

    undo(command_id = this.done[this.done.length - 1]) {
      if (command_id) this.decide({ action: 'undo', command_id });
      else this.tell('There is nothing of yours to undo since this page was opened.');
    }

    /** What came of the last decision. @param {{status: number, command_id: string, intent: any}} outcome */
    outcome(outcome) {
      mallard.outcomes += 1;
      if (!outcome || outcome.status >= 400) return;
      const undone = outcome.intent.action === 'undo' ? outcome.intent.command_id : null;
      this.done = this.done.filter((id) => id !== undone);
      if (undone) window.dash_clientside.set_props('notes', { hideNotifications: [`done-${undone}`] }); // its offer to undo
      else if (outcome.command_id) this.done.push(...outcome.command_id.split(',')); // of a trip there are several
      window.dash_clientside.set_props('reason', { value: '' });
      if (this.choice?.order_id === outcome.intent.order_id) this.choose(null);
    }

    // ------------------------------------------------------------ clicks

    #click(event) {
      const target = event.target instanceof Element ? event.target.closest('button, a, [data-act]') : null;
      if (!(target instanceof HTMLElement) || target.hasAttribute('disabled')) return;
      const to = target.dataset;
      if (to.openOrder) this.open('order', to.openOrder);
      else if (to.openDriver) this.open('driver', to.openDriver);
      else if (to.openMall) this.open('mall', to.openMall);
      else if (to.goMall) { mallard.chooseMalls([to.goMall]); this.open('mall', to.goMall); }
      else if (to.candidate) this.choose(to.candidate);
      else if (to.tab) mallard.queue.choose(to.tab);
      else if (to.pane) mallard.showPane(to.pane);
      else if (to.act) this.act(to.act, to);
    }

    /** @param {string} act @param {DOMStringMap} about */
    act(act, about) {
      const driver_id = one('#inspect-main [data-driver]')?.dataset.driver;
      const order_id = one('#inspect-main [data-order]')?.dataset.order;
      const acts = {
        commit: () => this.decide({ action: about.verb, order_id: about.order, driver_id: about.driver, expected_version: Number(about.version) }),
        accept: () => this.accept(about.order, about.driver),
        'accept-trip': () => this.decide({ action: 'accept_trip', orders: about.orders, driver_id: about.driver }),
        autopilot: () => set('autopilot-ask', { mall_id: mallard.firstMall(), ...this.#moment() }),
        trips: () => mallard.map.showTrips(!mallard.map.trips.all),
        'drop-choice': () => this.choose(null),
        again: () => { opened('conflict', false); this.decide({ ...this.intent, action: about.verb, expected_version: Number(about.version) }); },
        'drop-intent': () => { opened('conflict', false); opened('confirm', false); },
        cancel: () => this.sure(`Order ${order_id} will be cancelled, and its driver told.`, () => this.command('cancel')),
        'off-duty': () => this.sure('The driver is taken off duty: no new work, and its position is no longer kept.', () => this.decide({ action: 'duty', driver_id, duty: 'off_duty' })),
        'on-duty': () => this.decide({ action: 'duty', driver_id, duty: 'on_duty' }),
        'hand-over': () => set('handing', { driver_id, n: ++this.n }),
        confirmed: () => { opened('confirm', false); this.unsure?.(); this.unsure = null; },
        undo: () => this.undo(about.command),
        keys: () => opened('keys-sheet', true),
        theme: () => mallard.theme.toggle(),
        'zoom-in': () => mallard.map.zoom(1),
        'zoom-out': () => mallard.map.zoom(-1),
        fit: () => mallard.map.fit(),
        ...mallard.moreActs?.(about),
      };
      (acts[act] || (() => this.command(act)))();
    }
  }

  mallard.Hands = Hands;
})(window.mallard);
