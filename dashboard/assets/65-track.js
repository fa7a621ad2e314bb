/**
 * The recording as a line: how it went (on time, late, open), what was marked on it, and where it stands; a slider.
 * It must not move anything: who drags it is told about, and what it shows it is given.
 *
 * @typedef {{at_ms: number, kind: string, mall_id: string|null, text: string, order_ids?: string[]}} Alarm
 * @typedef {{at_ms: number, actor: string, action: string, order_id?: string, driver_id?: string}} Decision
 * @typedef {{complete: boolean, until_ms?: number, alarms: Alarm[], commands: Decision[], kpis: any[]}} Marks
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const SVG = 'http://www.w3.org/2000/svg';
  const WIDE = 1000;
  const HIGH = 46;
  const FLOOR = 38; // the curves stand on it; below are the alarms
  const NEAR_PX = 7;
  const MANY_LATE = 20; // fewer do not fill the height
  const WORST = 0.5; // share on time at the foot of its curve
  const AUTOPILOT = new Set(['autopilot', 'planner', 'dispatcher']);
  const SEVERE = new Set(['late', 'unassignable', 'store_late']);

  /** @param {string} name @param {Object<string, string|number>} about */
  function shape(name, about) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(about)) node.setAttribute(key, String(value));
    return node;
  }

  class Track {
    /** @param {HTMLElement} box @param {{preview: (at_ms: number) => void, seek: (at_ms: number) => void}} act */
    constructor(box, act) {
      this.box = box;
      this.act = act;
      this.start_ms = 0;
      this.end_ms = 1;
      this.held = false; // somebody drags
      /** @type {Marks} */ this.marks = { complete: false, alarms: [], commands: [], kpis: [] };
      this.svg = shape('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
      this.slider = document.createElement('input');
      Object.assign(this.slider, { type: 'range', id: 'replay-slider', step: '1000' });
      this.slider.setAttribute('aria-label', 'Moment of the recording');
      this.tip = document.createElement('div');
      this.tip.className = 'track-tip';
      this.tip.hidden = true;
      box.append(this.svg, this.slider, this.tip);
      this.slider.addEventListener('input', () => { this.held = true; act.preview(Number(this.slider.value)); });
      this.slider.addEventListener('change', () => { this.held = false; act.seek(Number(this.slider.value)); });
      box.addEventListener('pointermove', (event) => this.#hover(event));
      box.addEventListener('pointerleave', () => { this.tip.hidden = true; });
    }

    /** @param {number} start_ms @param {number} end_ms */
    span(start_ms, end_ms) {
      if (start_ms === this.start_ms && end_ms === this.end_ms) return;
      Object.assign(this, { start_ms, end_ms });
      Object.assign(this.slider, { min: String(start_ms), max: String(end_ms) });
      this.draw();
    }

    /** Where the replay stands; a hand on the slider goes first. @param {number} at_ms @param {string} words */
    at(at_ms, words) {
      if (!this.held) this.slider.value = String(at_ms);
      this.slider.setAttribute('aria-valuetext', words);
      this.box.style.setProperty('--at', String(this.#part(at_ms)));
    }

    /** @param {number | null} at_ms of the fork */
    fork(at_ms) {
      if (at_ms === this.forked_ms) return;
      this.forked_ms = at_ms;
      this.draw();
    }

    /** @param {Marks} marks */
    show(marks) { this.marks = marks; this.draw(); }

    #part(at_ms) { return Math.max(0, Math.min(1, (at_ms - this.start_ms) / (this.end_ms - this.start_ms || 1))); }

    #x(at_ms) { return Math.round(this.#part(at_ms) * WIDE * 10) / 10; }

    draw() {
      this.svg.replaceChildren();
      const { kpis } = this.marks;
      const most = (field, least) => Math.max(least, ...kpis.map((one) => one[field] || 0));
      const [open, late] = [most('open', 1), most('late', MANY_LATE)];
      const height = (value, top) => FLOOR - (Math.max(0, value) / top) * (FLOOR - 4);
      if (kpis.length > 1) {
        this.#area('open', kpis.map((one) => [this.#x(one.at_ms), height(one.open || 0, open)]));
        this.#area('late', kpis.map((one) => [this.#x(one.at_ms), height(one.late || 0, late)]));
        const timely = kpis.filter((one) => one.on_time !== null && one.on_time !== undefined);
        this.svg.append(shape('polyline', { class: 'on-time', points: timely.map((one) => `${this.#x(one.at_ms)},${height(one.on_time - WORST, 1 - WORST)}`).join(' ') }));
      }
      this.#ticks('command', this.marks.commands.filter((one) => !AUTOPILOT.has(one.actor)), 0, 5);
      this.#ticks('alarm', this.marks.alarms.filter((one) => !SEVERE.has(one.kind)), FLOOR + 1, HIGH);
      this.#ticks('alarm severe', this.marks.alarms.filter((one) => SEVERE.has(one.kind)), FLOOR + 1, HIGH);
      if (!this.marks.complete && this.marks.until_ms) this.#unread(this.#x(this.marks.until_ms));
      if (this.forked_ms) this.#ticks('fork', [{ at_ms: this.forked_ms }], 0, HIGH);
    }

    #area(name, points) {
      const line = points.map(([x, y]) => `${x},${y.toFixed(1)}`);
      const [first, last] = [points[0][0], points[points.length - 1][0]];
      this.svg.append(shape('polygon', { class: name, points: `${first},${FLOOR} ${line.join(' ')} ${last},${FLOOR}` }));
    }

    /** One path for all of a kind, each place once: a busy hour has hundreds. */
    #ticks(name, marks, top, bottom) {
      const places = [...new Set(marks.map((one) => this.#x(one.at_ms).toFixed(0)))];
      if (places.length) this.svg.append(shape('path', { class: name, d: places.map((x) => `M${x} ${top}V${bottom}`).join('') }));
    }

    #unread(x) { this.svg.append(shape('rect', { class: 'unread', x, y: 0, width: WIDE - x, height: HIGH })); }

    // ------------------------------------------------------------ under the pointer

    #hover(event) {
      const { left, width } = this.box.getBoundingClientRect();
      const per_px = (this.end_ms - this.start_ms) / width;
      const at_ms = this.start_ms + (event.clientX - left) * per_px;
      const near = (list) => list.filter((one) => Math.abs(one.at_ms - at_ms) < NEAR_PX * per_px)
        .sort((a, b) => Math.abs(a.at_ms - at_ms) - Math.abs(b.at_ms - at_ms))[0];
      const alarm = near(this.marks.alarms);
      const decision = near(this.marks.commands.filter((one) => !AUTOPILOT.has(one.actor)));
      const figures = this.marks.kpis.filter((one) => one.at_ms <= at_ms).pop();
      const lines = [
        mallard.clock(at_ms, mallard.firstMall(), true), figures && Track.#figures(figures),
        alarm && `${mallard.clock(alarm.at_ms, alarm.mall_id || mallard.firstMall())} ${alarm.text}`, decision && Track.#decision(decision),
      ];
      this.tip.hidden = false;
      this.tip.textContent = lines.filter(Boolean).join('\n');
      const half = this.tip.offsetWidth / 2;
      this.tip.style.left = `${Math.max(half, Math.min(width - half, event.clientX - left))}px`;
    }

    static #figures(one) {
      const timely = one.on_time === null || one.on_time === undefined ? '' : ` · ${Math.round(one.on_time * 100)} % on time`;
      return `${one.open} open · ${one.late} late${timely}`;
    }

    static #decision(one) {
      const to = one.driver_id ? ` to ${mallard.model.drivers.get(one.driver_id)?.name || one.driver_id}` : '';
      return `${one.actor || 'somebody'}: ${one.action.replaceAll('_', ' ')} ${one.order_id || ''}${to}`;
    }
  }

  mallard.Track = Track;
})(window.mallard);
