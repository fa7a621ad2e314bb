/**
 * The keys of the floor (shown by `?`). None fires while somebody types or a dialog is open.
 * It must not do anything that a click could not do as well.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';

  /** @param {EventTarget | null} target */
  function typing(target) {
    return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)
      && !(target instanceof HTMLInputElement && target.type === 'range')); // a slider takes arrows, no letters
  }

  /** A press on the button that does it, so that keys and clicks are one path; says why when there is no such button. */
  function press(hands, acts, why) {
    const button = acts.map((act) => document.querySelector(`#pane-inspect [data-act="${act}"]`)).find(Boolean);
    if (!button) hands.tell(why);
    else if (button.disabled) hands.tell(button.title);
    else button.click();
  }

  /** Assigns to the candidate under consideration; without one, considers the best. */
  function assign(hands) {
    if (document.querySelector('#pane-inspect [data-act="commit"]')) press(hands, ['commit'], '');
    else candidate(hands, 1);
  }

  function candidate(hands, number) {
    const row = document.querySelectorAll('[data-candidate]')[number - 1];
    if (row) row.click();
    else hands.tell(hands.cannot() || (hands.selection?.kind === 'order' ? `There is no candidate ${number}.` : 'Open an order first.'));
  }

  function step(hands, by) {
    const here = hands.selection?.kind === 'order' ? hands.selection.id : null;
    const id = mallard.queue.step(here, by);
    if (id) hands.open('order', id);
  }

  const NONE = 'That cannot be done with what is open now.';
  const KEYS = {
    '/': () => { mallard.showPane('queue'); document.getElementById('queue-search')?.focus(); },
    j: (hands) => step(hands, 1),
    k: (hands) => step(hands, -1),
    a: assign,
    r: assign,
    y: (hands) => press(hands, ['accept'], 'The autopilot suggests no driver for what is open now.'),
    t: (hands) => hands.act('trips', /** @type {any} */ ({})),
    m: (hands) => hands.act('autopilot', /** @type {any} */ ({})),
    u: (hands) => press(hands, ['unassign'], NONE),
    h: (hands) => press(hands, ['release', 'hold'], NONE),
    p: (hands) => press(hands, ['pin'], NONE),
    z: (hands) => hands.undo(),
    '?': (hands) => hands.act('keys', /** @type {any} */ ({})),
    Escape: (hands) => hands.close(),
    Enter: (hands) => {
      if (document.activeElement?.matches('[data-advice]')) press(hands, ['accept'], 'The autopilot suggests no driver for this order.');
      else if (!hands.selection) step(hands, 1);
    },
  };

  const PAGES = { f: '/', r: '/replay', i: '/insights' };
  let going = -Infinity; // when g was pressed
  const GO_MS = 1500;

  /** `g` and a page's letter. @returns {(() => void) | null} what to do about it */
  function going_to(key) {
    const page = performance.now() - going < GO_MS ? PAGES[key] : null;
    going = key === 'g' ? performance.now() : -Infinity;
    return page ? () => location.assign(page) : key === 'g' ? () => {} : null;
  }

  /** The keys of the page shown: those of the floor need one. */
  function bound(key) {
    if (/^[1-5]$/.test(key)) return !mallard.page.floor ? null : (hands) => candidate(hands, Number(key));
    return (!mallard.page.floor ? { '?': KEYS['?'] } : { ...KEYS, ...mallard.moreKeys })[key];
  }

  /** @param {KeyboardEvent} event @param {any} hands */
  mallard.keys = function keys(event, hands) {
    if (event.key === 'Escape' && typing(event.target)) { /** @type {HTMLElement} */ (event.target).blur(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    // The grid calls its tooltips dialogs, too; one stands wherever the mouse rests in the queue.
    if ([...document.querySelectorAll('[role="dialog"]:not(.ag-tooltip)')].some((dialog) => dialog.checkVisibility())) return;
    const pressed = going_to(event.key) || bound(event.key);
    const onControl = event.key === 'Enter' && event.target instanceof Element && event.target.closest('button, a, [role="row"]');
    if (!pressed || onControl) return;
    event.preventDefault();
    pressed(hands);
  };
})(window.mallard);
