// What pages do besides: stay up to date, keep what is being written, j and k in lists. All of it is extra.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- staying up to date: an event says that something has moved, htmx fetches the parts that show it
  const live = document.querySelector("[data-events]");
  const target = () => live && document.querySelector(live.dataset.moves);
  let stream = null;
  let pending = 0;
  const move = () => {
    clearTimeout(pending);
    pending = setTimeout(() => { if (target() && window.htmx) window.htmx.trigger(target(), "moved"); }, 150);
  };

  // A browser comes back to a stream that breaks off, but never to one that was refused; nor does htmx ask again.
  const hint = document.getElementById("stale");
  const pauses = { first: 5, longest: 24, jitter: 0.25, unnoticed: 4 };  // seconds, and a part of the others
  let tries = 0, retry = 0, notice = 0, missed = false;
  const pause = () => Math.min(pauses.longest, pauses.first * 1.5 ** tries++) * (1 + Math.random() * pauses.jitter);
  const stale = () => { missed = true; if (hint) hint.hidden = false; };
  const fresh = () => { missed = false; if (hint) hint.hidden = true; };
  const again = (what) => { stale(); clearTimeout(retry); retry = setTimeout(what, 1000 * pause()); };
  const noticed = () => { clearTimeout(notice); notice = 0; };
  const close = () => {
    clearTimeout(retry);
    noticed();
    if (stream) stream.close();
    stream = null;
  };
  const open = () => {
    if (!live || stream || document.hidden || !window.EventSource) return;
    stream = new EventSource(live.dataset.events);
    for (const name of ["progress", "inbox", "trouble"]) stream.addEventListener(name, move);
    stream.addEventListener("over", () => { move(); close(); live.removeAttribute("data-events"); });
    stream.addEventListener("open", () => { noticed(); if (missed) move(); });
    stream.addEventListener("error", () => {
      if (stream && stream.readyState === EventSource.CLOSED) { close(); again(open); }
      else if (!notice) notice = setTimeout(stale, 1000 * pauses.unnoticed);  // it tries again by itself
    });
  };
  const isOver = () => !live.hasAttribute("data-events");
  // `detail.elt` of what has just been replaced is its parent.
  const isOurs = (event) => live && event.detail.requestConfig.elt.matches(live.dataset.moves);
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(name, (event) => {
      if (isOurs(event)) { if (stream || isOver()) again(move); else stale(); }
    });
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isOurs(event) || !event.detail.successful) return;
    tries = 0;
    if (isOver() || (stream && stream.readyState === EventSource.OPEN)) fresh();
  });
  // A browser has few connections for each server: pages that nobody sees give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    if (live && !isOver()) open(); else if (missed) move();
  });
  window.addEventListener("pagehide", close);

  // --- what somebody writes is kept, and nobody decides about a head that they have not looked at
  const kept = new Map();
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const old = event.detail.target;
    const fresh = event.detail.fragment.querySelector(`#${old.id}`) || event.detail.fragment.firstElementChild;
    if (old.id === "actions") {
      const same = fresh && old.dataset.actions === fresh.dataset.actions && old.dataset.head === fresh.dataset.head;
      const written = all("textarea, input:not([type=hidden])", old).some((one) => one.value !== one.defaultValue || one.checked);
      if (same || written) event.detail.shouldSwap = false;
      if (written && !same) document.getElementById("newer").hidden = false;
    }
    for (const one of all("details[id]", old)) kept.set(one.id, one.open);
  });
  document.addEventListener("htmx:oobAfterSwap", () => {
    for (const [id, wasOpen] of kept) {
      const one = document.getElementById(id);
      if (one) one.open = wasOpen;
    }
  });
  document.addEventListener("htmx:afterSwap", () => {
    const status = document.getElementById("status");
    if (status) document.title = status.dataset.title;
    const list = document.getElementById("list");
    if (!list) return;
    const mine = Number(list.dataset.count);
    document.title = document.title.replace(/^\(\d+\) /, "").replace(/^/, mine ? `(${mine}) ` : "");
    const count = document.querySelector(".toggle .count");
    if (count) count.textContent = String(mine);
  });

  // --- a form is sent once, and is there again when one comes back to it
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => { for (const form of all("form[data-sent]")) delete form.dataset.sent; });

  // --- seconds that pass
  const words = (seconds) => {
    const s = Math.round(seconds);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min` + (s % 60 && s < 600 ? ` ${s % 60} s` : "");
    const h = Math.floor(s / 3600), min = Math.floor((s % 3600) / 60);
    return h < 24 ? `${h} h` + (min && h < 10 ? ` ${min} min` : "") : `${Math.floor(h / 24)} d`;
  };
  setInterval(() => {
    if (document.hidden) return;
    for (const one of all("[data-since]")) {
      const text = words(Number(one.dataset.spent) + Math.max(0, (Date.now() - Date.parse(one.dataset.since)) / 1000));
      if (one.textContent !== text) one.textContent = text;
    }
  }, 1000);

  // --- j and k
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const step = { j: 1, k: -1 }[event.key];
    const rows = all("[data-row]");
    if (!step || !rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
    const goal = row.querySelector(".card-head a, th a") || row;
    if (goal === row && !row.hasAttribute("tabindex")) row.tabIndex = -1;
    goal.focus();
    row.scrollIntoView({ block: "nearest" });
  });

  open();
})();
