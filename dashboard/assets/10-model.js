/**
 * The floor as the feed has told it so far (docs/feed.md), and the floor's clock.
 * It must not know sockets or the screen: frames come in, what changed goes out.
 *
 * @typedef {{id: string, name: string, lat: number|null, lng: number|null, heading_deg: number|null, state: string,
 *   fix_ms: number|null, accuracy_m: number|null, verdict: string|null, in_mall: string|null, orders: number,
 *   mall_id: string}} Driver
 * @typedef {{id: string, mall_id: string, stores: string[], items: number, status: string, version: number,
 *   driver_id: string|null, held: boolean, pinned: boolean, risk: string, due_ms: number, placed_ms: number,
 *   eta_dropoff_ms: number|null, eta_low_ms: number|null, eta_high_ms: number|null, offered_until_ms: number|null,
 *   advice: Advice|null, updated_ms: number, dropoff: {lat: number, lng: number, name?: string,
 *   address?: string}}} Order
 * @typedef {{order_id: string, word: string, reason?: string, driver_id?: string, trip?: string[], depart_ms?: number,
 *   leave_ms?: number, eta_dropoff_ms?: number}} Advice
 * @typedef {{mode: string, speed: number, fixture: string|null, clock_offset_ms: number, ended: boolean, playing: boolean,
 *   forked_at_ms: number|null}} Sign
 * @typedef {{mall_id: string, snapshot: boolean, drivers: string[], gone: string[], orders: string[],
 *   cells: string[], mode: boolean}} Change
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const ENDED = new Set(['delivered', 'cancelled', 'returned']);
  const KEPT_AFTER_END_MS = 3600000;
  const MAX_GUESS_MS = 2000; // the clock runs on between frames, but never far beyond what was heard

  class Model {
    constructor() {
      /** @type {Map<string, Driver>} */ this.drivers = new Map();
      /** @type {Map<string, Order>} */ this.orders = new Map();
      /** @type {Map<string, Map<string, {supply: number, demand: number, balance: number, wait: number}>>} */
      this.hexes = new Map();
      /** @type {Map<string, Object<string, number|null>>} */ this.kpis = new Map();
      /** @type {Map<string, string>} */ this.modes = new Map(); // of the autopilot, by mall
      /** @type {Object<string, number|null> | null} */ this.floorKpis = null;
      /** @type {Sign | null} */ this.sign = null;
      this.at_ms = 0;
      this.halted = false; // paused a moment ago; frames will say so, too
      this.received = -Infinity;
      this.frames = 0;
    }

    /** @param {any} frame @param {number} now milliseconds of performance.now() @returns {Change} */
    apply(frame, now) {
      const snapshot = frame.frame === 'snapshot';
      const change = { mall_id: frame.mall_id, snapshot, drivers: [], gone: [], orders: [], cells: [], mode: false };
      if (snapshot) this.#clear(frame, change);
      this.#takeDrivers(frame, change);
      for (const order of frame.orders || []) { this.orders.set(order.id, order); change.orders.push(order.id); }
      this.#takeHexes(frame, change);
      this.kpis.set(frame.mall_id, frame.kpis);
      change.mode = this.modes.get(frame.mall_id) !== frame.autopilot;
      this.modes.set(frame.mall_id, frame.autopilot);
      this.floorKpis = frame.floor_kpis;
      this.sign = frame.floor;
      this.at_ms = snapshot ? frame.at_ms : Math.max(this.at_ms, frame.at_ms);
      this.received = now;
      this.frames += 1;
      if (this.frames % 600 === 0) this.#forgetOld(change);
      return change;
    }

    /** A snapshot replaces all that is held of its mall. */
    #clear(frame, change) {
      const kept = new Set(frame.drivers.id || []);
      for (const driver of this.drivers.values()) {
        if (driver.mall_id === frame.mall_id && !kept.has(driver.id)) change.gone.push(driver.id);
      }
      change.gone.forEach((id) => this.drivers.delete(id));
      const orders = new Set((frame.orders || []).map((order) => order.id));
      for (const order of [...this.orders.values()]) {
        if (order.mall_id === frame.mall_id && !orders.has(order.id)) { this.orders.delete(order.id); change.orders.push(order.id); }
      }
      for (const cell of this.hexes.get(frame.mall_id)?.keys() || []) change.cells.push(cell);
      this.hexes.set(frame.mall_id, new Map());
    }

    #takeDrivers(frame, change) {
      const columns = frame.drivers;
      (columns?.id || []).forEach((id, i) => {
        const driver = { id, mall_id: frame.mall_id };
        for (const [name, column] of Object.entries(columns)) driver[name] = column[i];
        this.drivers.set(id, /** @type {Driver} */ (driver));
        change.drivers.push(id);
      });
      for (const id of frame.gone || []) {
        // A driver that went over to another mall may have arrived there in a frame before this one.
        if (this.drivers.get(id)?.mall_id === frame.mall_id) { this.drivers.delete(id); change.gone.push(id); }
      }
    }

    #takeHexes(frame, change) {
      const columns = frame.hexes;
      const held = this.hexes.get(frame.mall_id) || new Map();
      (columns?.cell || []).forEach((cell, i) => {
        held.set(cell, { supply: columns.supply[i], demand: columns.demand[i], balance: columns.balance[i], wait: columns.wait[i] });
        change.cells.push(cell);
      });
      this.hexes.set(frame.mall_id, held);
    }

    #forgetOld(change) {
      for (const order of [...this.orders.values()]) {
        if (ENDED.has(order.status) && order.updated_ms < this.at_ms - KEPT_AFTER_END_MS) {
          this.orders.delete(order.id);
          change.orders.push(order.id);
        }
      }
    }

    /** The floor's instant now. @param {number} now @returns {number} */
    floorNow(now) {
      if (!this.sign || this.sign.ended || this.halted || this.sign.playing === false) return this.at_ms;
      const speed = this.sign.mode === 'replay' ? this.sign.speed : 1;
      return this.at_ms + Math.min(now - this.received, MAX_GUESS_MS) * speed;
    }

    /** How old a driver's position is on the floor's clock. @param {Driver} driver @param {number} at_ms */
    static age(driver, at_ms) {
      return driver.fix_ms === null ? Infinity : Math.max(0, at_ms - driver.fix_ms);
    }
  }

  mallard.Model = Model;
  mallard.isEnded = (/** @type {Order} */ order) => ENDED.has(order.status);
})(window.mallard);
