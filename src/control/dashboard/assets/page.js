// What a page has more with scripts than without: copying, pointing at the chart, a range of it, pulls as they come.
// All text from elsewhere is set as text.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function copying() {
  for (const button of all("[data-copies]")) {
    button.hidden = false;
    // What is seen; what it copies stands behind that for who hears it.
    const seen = button.firstChild;
    const words = seen.data;
    button.addEventListener("click", async () => {
      const from = document.getElementById(button.dataset.copies);
      try {
        await navigator.clipboard.writeText(from.value ?? from.textContent);
        seen.data = "Copied";
      } catch {
        // Without a secure origin there is no clipboard: it is marked, to be copied by hand.
        from.closest("details")?.setAttribute("open", "");
        if (from.select) from.select();
        else getSelection().selectAllChildren(from);
        seen.data = "Marked: copy it";
      }
      setTimeout(() => { seen.data = words; }, 2000);
    });
  }
}

function pointing() {
  const plotted = document.querySelector(".plotted");
  const says = document.querySelector("p.pointed");
  if (!plotted || !says) return;
  const hits = all(".hits rect", plotted);
  const form = document.querySelector("form.days");
  for (const told of all("[data-scripted]")) told.hidden = false;
  // Where the pointer is, and where the range began that it leads to: the same where there is none.
  let [at, since] = [-1, -1];
  // On the element, for refresh to see: a finger that draws has no focus there.
  const draw = (isDrawn) => plotted.classList.toggle("drawn", isDrawn);
  const isDrawn = () => plotted.classList.contains("drawn");
  const ends = () => [Math.min(at, since), Math.max(at, since)];
  const days = () => {
    const [first, last] = ends().map((end) => hits[end].dataset);
    return [first.from, last.to ?? last.from];
  };
  const isShown = ([from, to]) => form?.elements.from.defaultValue === from && form.elements.to.defaultValue === to;
  // Hours are of days: several may be of one, and it is days that are shown alone.
  const named = () => {
    const [from, to] = days();
    const [words, which] = from === to ? [from, "this day"] : [`${from} to ${to}`, "these days"];
    if (isShown([from, to])) return `${words}: shown already`;
    return `${words}: ${isDrawn() ? "let go to see" : "Enter shows"} ${which} alone`;
  };
  const point = (to, from = to) => {
    [at, since] = [to, from];
    const [first, last] = ends();
    hits.forEach((hit, number) => hit.classList.toggle("pointed", first <= number && number <= last));
    says.textContent = first === last
      ? hits[at]?.querySelector("title").textContent ?? ""
      : named();
  };
  // The form carries all along that is shown beside the days.
  const choose = () => {
    if (at < 0 || !form || isShown(days())) return;
    [form.elements.from.value, form.elements.to.value] = days();
    form.requestSubmit();
  };
  const under = (event) => {
    const { left, width } = plotted.getBoundingClientRect();
    const number = Math.floor(((event.clientX - left) / width) * hits.length);
    return Math.max(0, Math.min(hits.length - 1, number));
  };
  hits.forEach((hit, number) => hit.addEventListener("pointerenter", () => isDrawn() || point(number)));
  plotted.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !hits.length) return;
    plotted.setPointerCapture(event.pointerId);
    draw(true);
    point(under(event));
  });
  plotted.addEventListener("pointermove", (event) => isDrawn() && point(under(event), since));
  plotted.addEventListener("pointerup", () => {
    // One point alone was pressed, not a range drawn.
    if (isDrawn() && at !== since) choose();
    draw(false);
  });
  for (const end of ["pointercancel", "pointerleave", "blur"]) {
    plotted.addEventListener(end, () => {
      draw(false);
      point(-1);
    });
  }
  plotted.addEventListener("keydown", (event) => {
    const last = hits.length - 1;
    const to = {
      ArrowLeft: at < 0 ? last : Math.max(0, at - 1),
      ArrowRight: at < 0 ? 0 : Math.min(last, at + 1),
      Home: 0,
      End: last,
      Escape: -1,
    }[event.key];
    if (event.key === "Enter") choose();
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) draw(false);
    point(to, event.shiftKey && at >= 0 && to >= 0 ? since : to);
  });
}

// The page is asked for again and what is shown is taken from it: the server makes all numbers.
async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [now, then] = [page.getElementById("shown"), document.getElementById("shown")];
  // Whoever uses the keyboard in there, draws on the chart, or has opened its table, is not disturbed.
  if (!now || !then || then.contains(document.activeElement) || then.querySelector(".drawn, .as-table[open]")) {
    const counts = now && then ? all("[data-count]", then) : [];
    const fresh = new Map(counts.length ? all("[data-count]", now).map((it) => [it.dataset.count, it]) : []);
    for (const count of counts) {
      const its = fresh.get(count.dataset.count);
      if (its) count.textContent = its.textContent;
    }
    return;
  }
  then.replaceWith(now);
  pointing();
}

function living() {
  const shown = document.getElementById("shown");
  const [card, list, state] = [".live", "#live", "#live-state"].map((it) => document.querySelector(it));
  if (!shown?.dataset.live || !card || !window.EventSource) return;
  let feed;
  const say = (words, isLive) => {
    state.textContent = words;
    card.classList.toggle("is-live", isLive);
  };
  let due = 0;
  // Nobody looks at a hidden page: it is asked for again once somebody does.
  let isOld = false;
  const renew = () => {
    isOld = document.hidden;
    if (!isOld) refresh().catch(() => {});
  };
  document.addEventListener("visibilitychange", () => {
    if (isOld) renew();
  });
  const connect = () => {
    feed = new EventSource(shown.dataset.live);
    feed.addEventListener("open", () => say("each pull, as it is counted", true));
    feed.addEventListener("error", () => {
      // What is refused, as where all seats are taken, the browser does not ask for again.
      const isRefused = feed.readyState === EventSource.CLOSED;
      say(`not connected; trying again${isRefused ? " in a minute" : ""}`, false);
      if (isRefused) setTimeout(connect, 60000);
    });
    feed.addEventListener("pull", seen);
  };
  const seen = (event) => {
    const pull = JSON.parse(event.data);
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = new Date().toISOString().slice(11, 19);
    line.append(time);
    const who = [pull.client, pull.version].filter(Boolean).join(" ");
    const platform = pull.platform === "unknown" ? "" : pull.platform;
    const what = list.dataset.of === "all" ? pull.package : "";
    for (const text of [what, pull.tag, who, platform].filter(Boolean)) {
      const part = document.createElement("span");
      part.textContent = text;
      line.append(part);
    }
    list.prepend(line);
    while (list.children.length > 20) list.lastChild.remove();
    // At once for the first, then not more than every five seconds.
    const wait = Math.max(0, due - Date.now());
    if (wait < 5000) {
      due = Date.now() + wait + 5000;
      setTimeout(renew, wait + 200);
    }
  };
  card.hidden = false;
  connect();
  addEventListener("pagehide", () => feed.close());
}

copying();
pointing();
living();
