/**
 * Light or dark: the system's choice until a person makes one, which this browser then keeps.
 * It must not know who paints with the colours; they come from `palette.css` by name.
 */
window.mallard = window.mallard || {};
(function (mallard) {
  'use strict';
  const KEPT = 'mantine-color-scheme-value'; // the key that the UI kit reads as well
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  const root = document.documentElement;
  /** @type {Array<() => void>} */
  const listeners = [];

  /** @returns {string | null} */
  function kept() {
    try {
      const value = localStorage.getItem(KEPT);
      return value === 'dark' || value === 'light' ? value : null;
    } catch { return null; } // storage may be forbidden; the system's choice then stands
  }

  function apply() {
    const scheme = kept() || (system.matches ? 'dark' : 'light');
    if (root.getAttribute('data-mantine-color-scheme') !== scheme) root.setAttribute('data-mantine-color-scheme', scheme);
  }

  mallard.theme = {
    /** @returns {boolean} */
    isDark: () => root.getAttribute('data-mantine-color-scheme') === 'dark',
    /** A palette colour, e.g. `late`, as `#rrggbb`. @param {string} name @returns {string} */
    colour: (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim(),
    toggle() {
      const next = mallard.theme.isDark() ? 'light' : 'dark';
      try { localStorage.setItem(KEPT, next); } catch { /* the choice then lasts as long as the page */ }
      window.dash_clientside.set_props('mantine', { forceColorScheme: next });
      root.setAttribute('data-mantine-color-scheme', next);
    },
    /** @param {() => void} listener */
    onChange: (listener) => { listeners.push(listener); },
  };

  apply();
  system.addEventListener('change', apply);
  new MutationObserver(() => listeners.forEach((listener) => listener()))
    .observe(root, { attributes: true, attributeFilter: ['data-mantine-color-scheme'] });
})(window.mallard);
