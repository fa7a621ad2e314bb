/**
 * The gallery of recordings: asks what there is, opens one, and follows links to a moment.
 * It must not speak to the floor: it writes Dash stores, callbacks do the rest.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  if (mallard.page.name !== 'gallery') return;
  const LOOK_MS = 5000;
  const KEPT = ['order', 'driver', 'mall'];
  const set = (id, data) => window.dash_clientside.set_props(id, { data });
  const say = (words, problem = false) => {
    window.dash_clientside.set_props('gallery-problem', { children: words });
    document.body.dataset.opening = String(Boolean(words) && !problem);
  };
  let n = 0;

  /** @param {string} source @param {number | null} at_ms */
  function open(source, at_ms) {
    say(`Opening ${source} …`);
    set('replay-open', { source, at_ms, n: ++n });
  }

  mallard.gallery = {
    start() {
      const look = () => { if (!document.hidden) set('gallery-look-up', { n: ++n }); };
      look();
      setInterval(look, LOOK_MS);
      const query = new URLSearchParams(location.search);
      const moment = Number(query.get('at'));
      if (query.get('source')) open(/** @type {string} */ (query.get('source')), query.has('at') && Number.isSafeInteger(moment) ? moment : null);
    },

    /** @param {{room: string, source: string, problem: string}} opened */
    opened(opened) {
      if (opened.problem) { say(`${opened.source} was not opened. ${opened.problem}`, true); return; }
      const query = new URLSearchParams({ source: opened.source });
      const asked = new URLSearchParams(location.search);
      for (const kind of KEPT) if (asked.get(kind)) query.set(kind, /** @type {string} */ (asked.get(kind)));
      location.assign(`/replay/${opened.room}?${query}`);
    },
  };

  mallard.moreActs = (about) => ({
    'replay-open': () => open(about.source, null),
    'replay-close': () => set('replay-close', { room: about.room, n: ++n }),
  });
})(window.mallard);
