/**
 * Which page this is: the floor, the gallery of recordings, a room in which one of them plays, or the insights.
 * What a room's page asks is asked of that room: its name goes along with every request and socket. It must not know
 * what is asked.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const room = /^\/replay\/([\w-]+)\/?$/.exec(location.pathname)?.[1] || null;
  const name = room ? 'room' : /^\/replay\/?$/.test(location.pathname) ? 'gallery' : /^\/insights\/?$/.test(location.pathname) ? 'insights' : 'floor';
  const GONE = 410;
  const NO_CHANGE = 204;
  const ABOUT_A_FLOOR = /^\/(_dash-update-component|api\/)/; // the page itself is there without its room

  mallard.page = {
    name,
    room,
    /** Whether there is a floor on it, live or replayed. */
    floor: name === 'floor' || name === 'room',
    /** What a socket's address says of it. */
    query: room ? { room } : {},
    /** Marks the link to this page. */
    mark() {
      const shown = { gallery: 'replay', room: 'replay' }[name] || name;
      document.querySelectorAll('.pages [data-page]').forEach((link) => {
        if (link.dataset.page === shown) link.setAttribute('aria-current', 'page');
      });
    },
  };
  document.documentElement.dataset.page = name;
  if (!room) return;

  /** What a room that is no more answers. A callback is told that nothing changes: Dash reports all else as an error,
   *  and the page says already that the room is closed. @param {string} where */
  const nothing = (where) => (where.startsWith('/api/') ? new Response(null, { status: GONE }) : new Response(null, { status: NO_CHANGE }));

  const ask = window.fetch.bind(window);
  window.fetch = async (where, how = {}) => {
    if (typeof where !== 'string' || !ABOUT_A_FLOOR.test(where)) return ask(where, how);
    if (mallard.replay?.gone) return nothing(where);
    const headers = new Headers(how.headers);
    headers.set('X-Mallard-Room', room);
    const answer = await ask(where, { ...how, headers });
    if (answer.status !== GONE) return answer;
    mallard.replay?.closed();
    return nothing(where);
  };
})(window.mallard);
