/**
 * The insights page: asks how far the policy lab is, which result is wanted, and cancels a run.
 * It must not speak to the floor: it writes Dash stores, callbacks do the rest.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  if (mallard.page.name !== 'insights') return;
  const LOOK_MS = 2000;
  const set = (id, data) => window.dash_clientside.set_props(id, { data });
  let n = 0;
  let run = ''; // the newest
  const look = () => { if (!document.hidden) set('lab-look', { run, n: ++n }); };

  mallard.insights = {
    start() {
      set('lab-ask', { n: ++n });
      look();
      setInterval(look, LOOK_MS);
      document.getElementById('lab-go')?.addEventListener('click', () => { run = ''; setTimeout(look, 300); });
    },
  };

  mallard.moreActs = (about) => ({
    'lab-show': () => { run = about.run; look(); },
    'lab-cancel': () => { set('lab-cancel', { n: ++n }); setTimeout(look, 300); },
  });
})(window.mallard);
