/**
 * The header and the figures: live or replay, the clock, the feed's age, the link-lost banner, the KPI strip.
 * It must not compute a figure that the floor gives; what cannot be had for a choice of malls is shown as unknown.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const SLOW_MS = 3000;
  const LOST_MS = 6000;
  const SUMMED = ['open', 'unassigned', 'at_risk', 'late', 'free', 'busy', 'silent', 'delivered'];

  /** @param {string} id */
  const at = (id) => document.getElementById(id);
  const show = (node, words) => { if (node && node.textContent !== words) node.textContent = words; };

  /** Figures of several malls: counts add up, on time is weighted by deliveries; medians and means cannot be joined. */
  function joined(all) {
    const sum = Object.fromEntries(SUMMED.map((name) => [name, all.reduce((total, one) => total + (one[name] || 0), 0)]));
    const timely = all.reduce((total, one) => total + (one.on_time || 0) * (one.delivered || 0), 0);
    return { ...sum, on_time: sum.delivered ? timely / sum.delivered : null, orders_per_trip: null, wait_at_store_ms: null, click_to_door_ms: null };
  }

  const FORMATS = {
    orders_per_trip: (value) => value.toFixed(2),
    on_time: (value) => `${Math.round(value * 100)} %`,
    wait_at_store_ms: (value) => `${(value / 60000).toFixed(1)} min`,
    click_to_door_ms: (value) => `${Math.round(value / 60000)} min`,
  };

  class Strip {
    /** @param {any} model */
    constructor(model) {
      this.model = model;
      this.up = false;
      /** @type {string[]} */ this.malls = [];
      this.onStale = (_stale) => {};
      setInterval(() => this.tick(), 200);
    }

    /** The figures of the malls shown. */
    figures() {
      const kpis = this.model.kpis;
      const wanted = this.malls.filter((mall) => kpis.has(mall));
      const figures = !this.malls.length || wanted.length === kpis.size ? this.model.floorKpis
        : wanted.length === 1 ? kpis.get(wanted[0]) : joined(wanted.map((mall) => kpis.get(mall)));
      if (!figures) return;
      document.querySelectorAll('[data-kpi]').forEach((node) => {
        const value = figures[node.dataset.kpi];
        show(node, value === null || value === undefined ? '–' : (FORMATS[node.dataset.kpi] || String)(value));
        node.parentElement?.classList.toggle('some', Boolean(value));
      });
    }

    /** Several times a second: only what time alone changes. */
    tick() {
      const { sign } = this.model;
      const now = performance.now();
      const age = now - this.model.received;
      const ended = Boolean(sign?.ended);
      const lost = Boolean(sign) && !ended && (!this.up || age > LOST_MS);
      this.#age(sign, age, lost, ended);
      this.#banner(sign, age, lost);
      if (sign) this.#moment(sign, now, ended);
      this.onStale(lost);
    }

    #age(sign, age, lost, ended) {
      const box = at('feed-state');
      if (!box) return;
      box.dataset.state = !sign ? 'waiting' : ended ? 'ended' : lost ? 'lost' : age > SLOW_MS ? 'slow' : 'fresh';
      show(at('feed-age'), !sign ? 'no frame yet' : ended ? 'ended' : age < 10000 ? `${(age / 1000).toFixed(1)} s` : `${Math.round(age / 1000)} s`);
    }

    #banner(sign, age, lost) {
      const banner = at('banner');
      if (!banner) return;
      const never = !sign && this.refused;
      banner.hidden = !lost && !never;
      if (lost) show(banner, `Link lost – last update ${Math.round(age / 1000)} s ago, retrying`);
      if (never) show(banner, 'The floor does not answer yet, retrying');
    }

    /** Live, or which way the floor is not. In a room it is never live, whatever a frame says. */
    #badge(mode, sign, ended) {
      const status = mallard.replay?.status;
      const forked_ms = status ? status.forked_at_ms : sign.forked_at_ms ?? null;
      const live = sign.mode === 'live' && mallard.page.name === 'floor';
      const name = forked_ms ? 'FORK' : 'REPLAY';
      const speed = `×${+(status?.speed ?? sign.speed).toFixed(1)}`;
      const how = ended ? 'ENDED' : status && !status.playing ? 'PAUSED' : speed;
      mode.dataset.mode = live ? 'live' : forked_ms ? 'fork' : ended ? 'ended' : 'replay';
      show(mode, live ? 'LIVE' : `${name} ${how}`);
      mode.title = forked_ms ? `Left its recording at ${mallard.clock(forked_ms, mallard.firstMall(), true)}: from there on drivers do as they are told here` : '';
      const since = forked_ms ? `forked ${mallard.clock(forked_ms, mallard.firstMall(), true)}` : '';
      show(at('fixture'), [sign.fixture || mallard.replay?.name, since].filter(Boolean).join(' · '));
    }

    #moment(sign, now, ended) {
      const mode = at('mode');
      if (!mode) return;
      this.#badge(mode, sign, ended);
      const malls = this.malls.length ? this.malls : [...this.model.kpis.keys()];
      const mall = malls[0];
      const clocks = malls.map((id) => `${mallard.mallName(id)} ${mallard.clock(this.model.floorNow(now), id)} ${mallard.zone(id)}`);
      const clock = at('clock');
      if (clock) clock.title = clocks.join('\n');
      show(at('clock'), mallard.clock(this.model.floorNow(now), mall, true));
      show(at('zone'), mallard.zone(mall));
    }
  }

  mallard.Strip = Strip;
})(window.mallard);
