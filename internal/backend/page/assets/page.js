// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Keeps the page current. The server renders it; this script requests the same page again when the event stream reports a change,
// and replaces what differs, so that the focus and the scroll position do not change.
"use strict";

(() => {
  const leastGap = 400; // ms between two refreshes, however many events arrive
  const idleGap = 60_000; // ms after which the timelines have moved enough to refresh

  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const filter = document.getElementById("filter");
  const shown = document.body.dataset.facts; // the subject whose facts the page shows; undefined if it shows none
  const source = new WeakMap(); // an element of a list -> the markup that the server sent for it

  let paused = false;
  let refreshing = false;
  let wanted = false;
  let lastRefresh = 0;
  let timer = 0;

  // Times come as UTC and are shown in the reader's zone; the title keeps UTC.
  const sameDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const otherDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

  function localize(root) {
    const today = new Date().toDateString();
    for (const el of root.querySelectorAll("time[datetime]")) {
      const at = new Date(el.dateTime);
      if (!Number.isNaN(at.getTime())) {
        el.textContent = (at.toDateString() === today ? sameDay : otherDay).format(at);
      }
    }
  }

  function remember(root) {
    for (const list of root.querySelectorAll("[data-list]")) {
      for (const el of list.children) source.set(el, el.outerHTML);
    }
  }

  function replace(el, fresh) {
    for (const { name } of [...el.attributes]) if (!fresh.hasAttribute(name)) el.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (el.getAttribute(name) !== value) el.setAttribute(name, value);
    el.replaceChildren(...fresh.childNodes);
  }

  // A row that changes or moves loses the focus; afterwards the link that had it gets it again.
  function patch(list, fresh) {
    const focus = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const have = new Map([...list.children].map((el) => [el.dataset.key, el]));
    let before = list.firstElementChild;
    for (const next of [...fresh.children]) {
      const markup = next.outerHTML;
      let el = have.get(next.dataset.key);
      if (el === undefined) {
        el = document.importNode(next, true);
        el.classList.add("fresh");
      } else {
        have.delete(next.dataset.key);
        if (source.get(el) !== markup) {
          replace(el, document.importNode(next, true));
          el.classList.add("fresh");
        }
      }
      source.set(el, markup);
      if (el === before) before = before.nextElementSibling;
      else list.insertBefore(el, before);
    }
    for (const el of have.values()) el.remove();
    if (focus && !list.contains(document.activeElement)) {
      const link = [...list.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === focus);
      if (link) link.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    if (refreshing) { wanted = true; return; }
    refreshing = true;
    wanted = false;
    lastRefresh = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (paused) return;
      for (const list of document.querySelectorAll("[data-list]")) {
        const other = fresh.querySelector(`[data-list="${list.dataset.list}"]`);
        if (other) patch(list, other);
      }
      localize(document);
    } catch {
      // The page shows by the stream's state that the backend is away; the next refresh follows when the stream is open again.
    } finally {
      refreshing = false;
      if (wanted) soon();
    }
  }

  function soon() {
    if (paused || document.hidden) { wanted = true; return; }
    if (timer) return;
    timer = setTimeout(() => { timer = 0; refresh(); }, Math.max(0, lastRefresh + leastGap - Date.now()));
  }

  function show(state, words) {
    live.dataset.state = state;
    const text = live.querySelector("span");
    if (text.textContent !== words) text.textContent = words;
  }

  function showState(stream) {
    if (paused) show("paused", "Paused");
    else if (stream.readyState === EventSource.OPEN) show("live", "Live");
    else show("away", "Reconnecting");
  }

  function follow() {
    const stream = new EventSource(document.body.dataset.stream);
    stream.addEventListener("open", () => { showState(stream); soon(); });
    stream.addEventListener("runtime", soon);
    stream.addEventListener("truncated", soon);
    stream.addEventListener("facts", (ev) => {
      const { subjectKey } = JSON.parse(ev.data); // absent: for more subjects than the backend remembers
      if (!subjectKey || shown === "*" || shown === subjectKey) soon();
    });
    stream.addEventListener("error", () => {
      showState(stream);
      if (stream.readyState === EventSource.CLOSED) {
        setTimeout(() => { stream.close(); follow(); }, 3000); // a refusal ends the stream permanently; open a new one
      }
    });
    pause.onclick = () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      showState(stream);
      if (!paused) soon();
    };
  }

  function filtering() {
    if (!filter) return;
    const box = filter.querySelector("input[type=search]");
    let typing = 0;
    const apply = () => {
      const url = new URL(location.href);
      if (box.value) url.searchParams.set("q", box.value);
      else url.searchParams.delete("q");
      history.replaceState(null, "", url);
      for (const tab of document.querySelectorAll(".tabs a")) {
        const to = new URL(tab.href);
        if (box.value) to.searchParams.set("q", box.value);
        else to.searchParams.delete("q");
        tab.href = to;
      }
      refresh();
    };
    box.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(apply, 150); });
    filter.addEventListener("submit", (ev) => { ev.preventDefault(); clearTimeout(typing); apply(); });
    document.addEventListener("keydown", (ev) => {
      const writing = ev.target instanceof HTMLInputElement;
      if (ev.key === "/" && !writing && !ev.ctrlKey && !ev.metaKey && !ev.altKey) {
        ev.preventDefault();
        box.focus();
        box.select();
      }
    });
  }

  // Up and down go from row to row.
  document.addEventListener("keydown", (ev) => {
    if (ev.key !== "ArrowDown" && ev.key !== "ArrowUp") return;
    const row = ev.target instanceof Element && ev.target.closest("tbody[data-list] tr");
    if (!row) return;
    const next = ev.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    const link = next && next.querySelector("a");
    if (link) {
      ev.preventDefault();
      link.focus();
    }
  });

  document.addEventListener("visibilitychange", () => { if (!document.hidden && wanted) soon(); });
  document.addEventListener("animationend", (ev) => { if (ev.target instanceof Element) ev.target.classList.remove("fresh"); });
  setInterval(() => { if (Date.now() - lastRefresh >= idleGap) soon(); }, 5000);

  remember(document);
  localize(document);
  pause.hidden = false;
  filtering();
  follow();
})();
