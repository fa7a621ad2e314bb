/**
 * A room's transport: what a person does to the replay, and how it stands, in bar and badge.
 * It must not speak to the room: it writes Dash stores, callbacks do the rest.
 *
 * @typedef {{playing: boolean, speed: number, at_ms: number, start_ms: number, end_ms: number, ended: boolean,
 *   forked_at_ms: number|null, seeking_ms?: number|null, complete?: boolean, problem?: string|null}} Status
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  if (mallard.page.name !== 'room') return;
  const LOOK_MS = 2000; // somebody else may move the room, too
  const COMPARE_MS = 4000;
  const PATIENCE_MS = 12000; // an answer that does not come in this time never will
  const STEP_MS = 10000;
  const MINUTE_MS = 60000;
  const at = (id) => document.getElementById(id);
  const show = (node, words) => { if (node && node.textContent !== words) node.textContent = words; };
  const set = (id, data) => window.dash_clientside.set_props(id, { data });

  class Replay {
    constructor() {
      /** @type {Status | null} */ this.status = null;
      this.n = 0; // of the wish on its way
      this.looks = 0;
      this.asked = -Infinity;
      /** @type {Array<[string, any]>} */ this.wishes = []; // the first is on its way
      this.compared = -Infinity;
      this.gone = false;
      this.source = new URLSearchParams(location.search).get('source') || '';
      this.name = '';
    }

    start() {
      this.track = new mallard.Track(at('replay-track'), {
        preview: (at_ms) => { this.preview = at_ms; this.tick(); },
        seek: (at_ms) => { this.preview = null; this.seek(at_ms); },
      });
      this.look();
      set('replay-look', { n: ++this.looks });
      setInterval(() => this.tick(), 200);
    }

    /** The instant shown, or that it is on its way to. */
    now() { return this.status?.seeking_ms ?? Math.round(mallard.model.frames ? mallard.model.floorNow(performance.now()) : this.status?.at_ms || 0); }

    // ------------------------------------------------------------ asking

    /** One after the other: Dash forgets a callback's question once it is asked another. @param {Object<string, any>} wish */
    send(wish, store = 'replay-do') {
      if (this.wishes.length && performance.now() - this.asked > PATIENCE_MS) this.wishes = [];
      this.wishes.push([store, wish]);
      if (this.wishes.length === 1) this.#next();
    }

    #next() {
      const [store, wish] = this.wishes[0] || [];
      if (!store) return;
      this.asked = performance.now();
      this.n += 1;
      set(store, { ...wish, n: this.n });
    }

    /** @param {number} n of the wish; 0 for what was not wished for here, as a fork */
    #answered(n) {
      if (n !== this.n || !this.wishes.length) return;
      this.wishes.shift();
      this.#next();
    }

    look() { if (!this.wishes.length || performance.now() - this.asked > PATIENCE_MS) this.send({}); }

    /** A seek leads back to the recording. @param {() => void} go */
    #sure(go) {
      if (!this.status?.forked_at_ms) go();
      else mallard.hands.sure('Another moment is one of the recording: this fork, and what was decided in it, is given up.', go);
    }

    seek(at_ms) { this.#sure(() => this.#go(at_ms)); }

    #go(at_ms) {
      if (!this.status) return;
      const within = Math.max(this.status.start_ms, Math.min(this.status.end_ms, Math.round(at_ms)));
      document.body.dataset.seeking = 'true';
      this.send({ do: 'seek', at_ms: within });
    }

    /** Back is a seek; on is played through, as it was. @param {number} by_ms */
    step(by_ms) {
      if (by_ms < 0) this.seek(this.now() + by_ms);
      else this.send({ do: 'step', step_ms: by_ms });
    }

    play() {
      if (this.status) this.send({ do: this.status.playing ? 'pause' : 'play' });
    }

    /** @param {number} speed */
    speed(speed) { this.send({ do: 'speed', speed }); }

    faster(by) {
      const speeds = [...document.querySelectorAll('[data-speed]')].map((button) => Number(button.dataset.speed));
      const here = speeds.findIndex((speed) => speed >= (this.status?.speed || 1));
      this.speed(speeds[Math.max(0, Math.min(speeds.length - 1, here + by))]);
    }

    /** @param {string} kind @param {boolean} back */
    jump(kind, back) {
      const { selection } = mallard.hands;
      if (kind === 'order' && selection?.kind !== 'order') { mallard.hands.tell('Open an order first.'); return; }
      const wish = { from_ms: this.now(), kind, back, ...(kind === 'order' ? { order_id: selection.id } : {}) };
      this.#sure(() => { document.body.dataset.seeking = 'true'; this.send(wish, 'replay-next'); });
    }

    // ------------------------------------------------------------ a link to the moment

    link(at_ms = this.now()) {
      const query = new URLSearchParams({ source: this.source, ...(at_ms ? { at: String(at_ms) } : {}) });
      const { selection } = mallard.hands;
      if (selection) query.set(selection.kind, selection.id);
      return `${location.origin}/replay?${query}`;
    }

    async copy() {
      const link = this.link();
      try {
        await navigator.clipboard.writeText(link); // needs TLS or this machine; else it is shown
        mallard.hands.tell(`Copied: a link to ${mallard.clock(this.now(), mallard.firstMall(), true)}.`);
      } catch { mallard.hands.tell(link); }
    }

    again() { location.assign(this.link(this.shown || this.now())); }

    closed() {
      if (this.gone) return;
      this.gone = true;
      this.shown = this.now();
      at('room-closed').hidden = false;
      document.body.dataset.closed = 'true';
      document.querySelector('#room-closed button')?.focus();
    }

    // ------------------------------------------------------------ answers

    /** @param {{n: number, status: Status | null, room: {source?: string, name?: string}, problem: string, said: string}} answer */
    take(answer) {
      if (!answer) return;
      delete document.body.dataset.seeking;
      this.#answered(answer.n);
      this.source = answer.room.source || this.source;
      this.name = answer.room.name || this.name;
      if (answer.problem) mallard.hands.tell(answer.problem);
      if (answer.said) this.say(answer.said);
      if (!answer.status) return;
      const before = this.status;
      this.status = answer.status;
      mallard.model.halted = !this.status.playing;
      if (mallard.model.halted) mallard.model.at_ms = this.status.at_ms; // else the clock would go back when frames say so
      if (before && before.forked_at_ms === null && this.status.forked_at_ms !== null) this.#forked();
      if (before?.forked_at_ms && !this.status.forked_at_ms) this.#back();
      if (this.status.seeking_ms) { document.body.dataset.seeking = 'true'; if (!this.wishes.length) this.asked = performance.now() - LOOK_MS + 300; }
      this.tick();
    }

    #forked() {
      this.say(`Forked at ${mallard.clock(this.status.forked_at_ms, mallard.firstMall(), true)}: from here on this room goes its own way.`);
    }

    /** The room plays its recording again: there is nothing to compare. */
    #back() {
      this.say('Back in the recording.');
      if (!at('compare-pane').hidden) this.compare();
    }

    say(words) { this.saidAt = performance.now(); show(at('replay-said'), words); at('replay-said').title = words; }

    /** @param {any} marks */
    marks(marks) {
      if (!marks) { setTimeout(() => set('replay-look', { n: ++this.looks }), LOOK_MS); return; }
      this.track.show(marks);
      if (!marks.complete) setTimeout(() => set('replay-look', { n: ++this.looks }), LOOK_MS);
    }

    // ------------------------------------------------------------ several times a second

    tick() {
      const { status } = this;
      if (!this.gone && !document.hidden && performance.now() - this.asked > LOOK_MS) this.look();
      if (!status) return;
      const mall = mallard.firstMall();
      const at_ms = this.preview ?? this.now();
      const clock = mallard.clock(at_ms, mall, true);
      this.track.span(status.start_ms, status.end_ms);
      this.track.at(at_ms, clock);
      this.track.fork(status.forked_at_ms);
      show(at('replay-at'), clock);
      show(at('replay-end'), mallard.clock(status.end_ms, mall));
      this.#buttons(status);
      this.#compare(status);
      mallard.map.ghosts.tick(this.gone ? null : status.forked_at_ms);
      if (status.problem) this.say(`It cannot be read on: ${status.problem}`);
      else if (this.saidAt && performance.now() - this.saidAt > 12000) show(at('replay-said'), '');
    }

    #buttons(status) {
      const play = document.querySelector('[data-act="replay-play"]');
      show(play, status.playing ? '❚❚' : '▶');
      play?.setAttribute('aria-label', status.playing ? 'Pause' : 'Play');
      document.querySelectorAll('[data-speed]').forEach((button) => button.setAttribute('aria-pressed', String(Number(button.dataset.speed) === status.speed)));
      const fork = document.querySelector('[data-act="replay-fork"]');
      const why = mallard.hands.cannot() || (status.forked_at_ms ? 'This room is forked already; open the recording again for another fork.' : '');
      if (fork && fork.disabled !== Boolean(why)) { fork.disabled = Boolean(why); fork.title = why; }
      document.body.classList.toggle('forked', Boolean(status.forked_at_ms));
    }

    // ------------------------------------------------------------ both worlds

    #compare(status) {
      const pane = at('compare-pane');
      if (!pane || pane.hidden || !status.forked_at_ms || performance.now() - this.compared < COMPARE_MS) return;
      this.compared = performance.now();
      set('compare-look', this.#moment());
    }

    #moment() {
      return { at_ms: this.now(), offset_ms: mallard.model.sign?.clock_offset_ms || 0, mall_id: mallard.firstMall(), n: ++this.looks };
    }

    compare() {
      const pane = at('compare-pane');
      pane.hidden = !pane.hidden;
      document.querySelector('[data-act="replay-compare"]')?.setAttribute('aria-pressed', String(!pane.hidden));
      this.compared = -Infinity;
    }

    fork() {
      const why = mallard.hands.cannot();
      if (why) { mallard.hands.tell(why); return; }
      if (this.status?.playing) this.send({ do: 'pause' });
      set('fork-ask', this.#moment());
    }
  }

  const replay = new Replay();
  mallard.replay = replay;

  mallard.moreActs = (about) => ({
    'replay-alarm-before': () => replay.jump('alarm', true),
    'replay-alarm-after': () => replay.jump('alarm', false),
    'replay-back-minute': () => replay.step(-MINUTE_MS),
    'replay-back-step': () => replay.step(-STEP_MS),
    'replay-step': () => replay.step(STEP_MS),
    'replay-minute': () => replay.step(MINUTE_MS),
    'replay-play': () => replay.play(),
    'replay-speed': () => replay.speed(Number(about.speed)),
    'replay-order-before': () => replay.jump('order', true),
    'replay-order-after': () => replay.jump('order', false),
    'replay-copy': () => replay.copy(),
    'replay-compare': () => replay.compare(),
    'replay-ghosts': () => mallard.map.ghosts.toggle(),
    'replay-fork': () => replay.fork(),
    'replay-again': () => replay.again(),
  });

  mallard.moreKeys = {
    w: () => replay.play(),
    ',': () => replay.step(-STEP_MS),
    '.': () => replay.step(STEP_MS),
    '<': () => replay.step(-MINUTE_MS),
    '>': () => replay.step(MINUTE_MS),
    '[': () => replay.jump('alarm', true),
    ']': () => replay.jump('alarm', false),
    e: () => replay.jump('order', true),
    n: () => replay.jump('order', false),
    '-': () => replay.faster(-1),
    '+': () => replay.faster(1),
    '=': () => replay.faster(1),
    c: () => replay.copy(),
    v: () => replay.fork(),
    b: () => mallard.map.ghosts.toggle(),
  };
})(window.mallard);
