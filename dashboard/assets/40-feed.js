/**
 * The socket to the live feed: connects, resumes without a gap, comes back after a loss.
 * It must not know what a frame means beyond `mall_id`, `seq` and `epoch` (docs/feed.md).
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const FIRST_PAUSE_MS = 500;
  const LONGEST_PAUSE_MS = 8000;
  const SILENT_MS = 15000; // two frames a second are due; an open socket that says nothing for so long is dead
  const UNAUTHENTICATED = 4401;
  const ROOM_CLOSED = 4404;

  class Feed {
    /** @param {(frame: any) => void} onFrame @param {(up: boolean) => void} onLink @param {() => void} onClosed */
    constructor(onFrame, onLink, onClosed = () => {}) {
      this.onClosed = onClosed;
      this.onFrame = onFrame;
      this.onLink = onLink;
      /** @type {Map<string, number>} */ this.seqs = new Map();
      /** @type {string | null} */ this.epoch = null;
      this.attempt = 0;
      this.heard = performance.now();
      this.connects = 0;
      setInterval(() => this.#watch(), 1000);
    }

    open() {
      const since = [...this.seqs].map(([mall, seq]) => `${mall}:${seq}`).join(',');
      const query = new URLSearchParams({ ...(this.epoch && since ? { since, epoch: this.epoch } : {}), ...mallard.page.query });
      const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
      const socket = new WebSocket(`${scheme}://${location.host}/feed?${query}`);
      this.socket = socket;
      this.connects += 1;
      this.heard = performance.now();
      socket.onmessage = (message) => { if (socket === this.socket) this.#take(JSON.parse(message.data)); };
      socket.onclose = (event) => { if (socket === this.socket) this.#closed(event.code); };
    }

    #take(frame) {
      this.heard = performance.now();
      this.attempt = 0;
      if (frame.frame === 'snapshot') {
        this.epoch = frame.epoch;
      } else if (this.seqs.get(frame.mall_id) !== frame.seq - 1) {
        this.seqs.delete(frame.mall_id); // a gap: ask for a snapshot of this mall by naming no seq
        this.socket.close();
        return;
      }
      this.seqs.set(frame.mall_id, frame.seq);
      this.onFrame(frame);
      this.onLink(true);
    }

    #closed(code) {
      this.onLink(false);
      if (code === UNAUTHENTICATED) { location.assign('/login'); return; }
      if (code === ROOM_CLOSED) { this.onClosed(); return; }
      const bound = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.attempt);
      this.attempt += 1;
      setTimeout(() => this.open(), bound * (0.5 + Math.random() / 2));
    }

    #watch() {
      if (this.socket?.readyState !== WebSocket.OPEN || performance.now() - this.heard < SILENT_MS) return;
      const dead = this.socket;
      this.socket = null; // its close may take long to come, or never
      dead.close();
      this.#closed(0);
    }
  }

  mallard.Feed = Feed;
})(window.mallard);
