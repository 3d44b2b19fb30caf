/* crl-stream dashboard, behaviour. No framework, no inline handler. The pages are complete without it: the server renders
   every word. The script searches and sorts the table of tasks, keeps the page up to date, sends orders, draws charts. */
(() => {
  "use strict";
  const $ = (q, at = document) => at.querySelector(q);
  const $$ = (q, at = document) => [...at.querySelectorAll(q)];
  const root = document.documentElement;
  const base = root.dataset.base || "";
  const query = new URLSearchParams(location.search);
  const esc = (s) => String(s).replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" })[c]);
  const icon = (name, css) => `<svg class="i${css ? ` ${css}` : ""}" aria-hidden="true"><use href="#i-${name}"></use></svg>`;
  const island = (id) => { const el = document.getElementById(id); return el ? JSON.parse(el.textContent) : null; };
  const thousands = (n) => n.toLocaleString("en");
  const evidence = (v) => (v < 1e6 ? thousands(Math.round(v)) : v.toExponential(0));
  const readable = (text) => text.replace(/(\S |\()(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}Z/g, "$1$2 $3 UTC"); // as core.instant does
  function safe(f) { try { return f(); } catch { return null; } }

  /* ---- theme: the system's, unless somebody chose ---------------------------------------------------------- */
  const theme = safe(() => localStorage.getItem("crl-theme"));
  if (theme) root.dataset.theme = theme;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const scheme = () => root.dataset.theme || (system.matches ? "dark" : "light");
  $("[data-theme-toggle]")?.addEventListener("click", () => {
    root.dataset.theme = scheme() === "dark" ? "light" : "dark";
    safe(() => localStorage.setItem("crl-theme", root.dataset.theme));
    plotAll();
  });
  system.addEventListener("change", () => plotAll());

  /* ---- time: the server's clock, UTC; ages beside it -------------------------------------------------------- */
  let ahead = Date.parse(root.dataset.now) - Date.now(); // how far the server's clock is ahead of this one
  const now = () => Date.now() + ahead;
  const hms = (t) => new Date(t).toISOString().slice(11, 19);
  const exact = (t) => `${new Date(t).toISOString().slice(0, 19)}Z`;
  function age(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} d`;
  }
  const put = (el, text) => { if (el && el.textContent !== text) el.textContent = text; };
  function tick() {
    const t = now();
    $$("[data-clock]").forEach((el) => put(el, `${hms(t)} UTC`));
    $$("time[data-age]").forEach((el) => put(el, `${age(t - Date.parse(el.dateTime))} ago`));
  }
  document.addEventListener("pointerover", (event) => {
    const el = event.target.closest?.("time[datetime]");
    if (el && !el.title) el.title = `${el.dateTime} · ${new Date(el.dateTime).toLocaleString()} here`;
  });

  /* ---- short messages, and commands to copy -------------------------------------------------------------------- */
  let toastTimer;
  function toast(text) {
    const el = $(".toast");
    if (!el) return;
    el.textContent = text; el.classList.add("on");
    clearTimeout(toastTimer); toastTimer = setTimeout(() => el.classList.remove("on"), 4000);
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy || $("code", button.parentElement).textContent;
    const done = await (navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false);
    toast(done ? `Copied: ${text}` : `Copy this by hand: ${text}`);
  });

  /* ---- what is shown is replaced by what the server renders; the script makes no words --------------------------- */
  const parts = () => { const at = new URL(location.href); at.searchParams.set("parts", "1"); at.hash = ""; return at; };
  const was = new WeakMap(); // what a part was last replaced by
  /* A button that is replaced between press and release gets no click: nothing is replaced meanwhile. */
  let released = Promise.resolve();
  addEventListener("pointerdown", () => {
    released = new Promise((done) => {
      for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(done), { once: true });
      setTimeout(done, 2000);
    });
  }, true);
  let fetching = false, again = false, whole = false, wanted = "";
  async function refresh(everything = false) {
    whole = whole || everything;
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      do {
        again = false;
        const all = whole; whole = false;
        const answer = await fetch(all ? location.href : parts(), { headers: { Accept: "text/html" } });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        await released;
        swap(fresh, all);
        await new Promise((done) => setTimeout(done, 250));
      } while (again);
    } catch { /* the stream says that the page is not live */ } finally { fetching = false; }
  }
  /* A banner that comes while somebody reads lies over the page, and one that goes leaves its place empty: what is
     under the pointer does not move. */
  function makeRoom(el, html) {
    const late = el.classList.contains("late");
    if (!late && el.offsetHeight) el.style.setProperty("min-height", `${el.offsetHeight}px`);
    else el.classList.toggle("late", Boolean(html.trim()));
  }
  function swap(fresh, all) {
    if (fresh.documentElement.dataset.page !== root.dataset.page) { location.reload(); return; }
    const opened = $("dialog[open]"), active = document.activeElement;
    if (!opened && $$("[data-live]", fresh).some((el) => !$(`[data-live="${el.dataset.live}"]`))) { location.reload(); return; } // a new section
    const mark = active && active !== document.body ? ["id", "href", "data-open", "data-copy"].map((n) => active.getAttribute(n) && `[${n}="${CSS.escape(active.getAttribute(n))}"]`).find(Boolean) : null;
    $$("[data-live]").forEach((el) => {
      const name = el.dataset.live, next = $(`[data-live="${name}"]`, fresh);
      const html = next?.innerHTML;
      if (!next || (was.get(el) ?? el.innerHTML) === html) return;
      if (opened && el.contains(opened)) return; // a dialog that is open stays as it is
      const folds = $$("details[open]", el).map((d) => d.dataset.fold), inside = mark && el.contains(active);
      if (name === "banners") makeRoom(el, html);
      el.innerHTML = html;
      was.set(el, html);
      folds.forEach((fold) => { const d = $(`details[data-fold="${fold}"]`, el); if (d) d.open = true; });
      if (inside) $(mark, el)?.focus({ preventScroll: true });
    });
    const rows = $("#tasks-rows", fresh);
    if (all && rows && tasks) tasks.replace(JSON.parse(rows.textContent));
    tick(); proposals?.(); plotAll();
    if (wanted && !openWanted()) wanted = "";
  }
  /* ---- the stream --------------------------------------------------------------------------------------------
     One EventSource. A beat comes every 5 s. "Late" after 10 s without anything, "Not live" after 30 s, when the connection
     is lost, or when the server says so; then reconnect after 1, 2, 4 ... 30 s. The page never says Live on the strength
     of an open socket alone: only after the server has said what has changed. */
  const pill = $(".live"), banner = $("#lost");
  let source = null, seen = root.dataset.stamp || "", spoke = 0, newest = Date.parse(root.dataset.heard || "") || 0;
  let told = { live: banner?.hidden ?? true, text: "" }, failed = 0, retryAt = 0, retryTimer = 0;
  const task = $("main")?.dataset.task;
  function connect() {
    clearTimeout(retryTimer); retryAt = 0;
    source?.close();
    const at = new URL(`${base}/stream`, location.href);
    at.searchParams.set("seen", seen);
    if (task) at.searchParams.set("task", task);
    source = new EventSource(at);
    for (const name of ["snapshot", "task", "fact", "overview", "beat"]) source.addEventListener(name, (event) => hear(name, event));
    source.onerror = lose;
  }
  function lose() {
    source?.close(); source = null;
    failed += 1;
    const wait = Math.min(30000, 1000 * 2 ** Math.min(failed - 1, 5)) * (0.8 + 0.4 * Math.random());
    retryAt = Date.now() + wait;
    clearTimeout(retryTimer); retryTimer = setTimeout(connect, wait);
    if (failed > 1) fetch(parts(), { method: "GET" }).then((answer) => { if (answer.status === 401) location.reload(); }, () => {});
    pulse();
  }
  function hear(name, event) {
    const body = JSON.parse(event.data);
    spoke = Date.now(); failed = 0; retryAt = 0;
    if (event.lastEventId) seen = event.lastEventId;
    if (name === "snapshot" || name === "beat") {
      ahead = body.now - Date.now();
      told = { live: body.live, text: body.text || "", since: body.since };
      newest = body.heard_at || 0;
      if (body.refetch) refresh(true);
    } else {
      newest = Math.max(newest, now());
      if (name === "task") { if (tasks) tasks.change(body); else if (!task || task === body.key) refresh(); }
      else refresh();
    }
    pulse();
  }
  function pulse() {
    if (!pill) return;
    const silent = spoke ? Date.now() - spoke : 0;
    const lost = failed > 0 || !told.live || silent > 30000;
    const state = !spoke && !failed && told.live ? "wait" : lost ? "lost" : silent > 10000 ? "late" : "ok";
    pill.dataset.state = state;
    put($("b", pill), { wait: "Connecting", ok: "Live", late: "Late", lost: "Not live" }[state]);
    put($(".ago", pill), newest ? `newest record ${age(now() - newest)} ago` : "no record yet");
    root.classList.toggle("stale-page", state === "lost");
    banner.hidden = state !== "lost";
    if (state !== "lost" || (!spoke && !failed)) return; // until the stream speaks, the words of the page stand
    // Beats go on while Kafka is silent, so they do not say how old the figures are; without `since` it is not known.
    const heard = spoke ? spoke + ahead : Date.parse(root.dataset.now), since = told.live ? heard : told.since;
    const text = told.text && !told.live && !failed ? told.text : "";
    put($("b", banner), text ? `${text[0].toUpperCase()}${text.slice(1)}.` : `Not live. Nothing was heard since ${hms(heard)}.`);
    const old = since ? `All figures are from ${text || since === heard ? "then" : hms(since)}, ${age(now() - since)} ago, and may be wrong now.` : "All figures may be wrong now.";
    const wait = retryAt ? ` Trying again in ${age(retryAt - Date.now())}.` : "";
    const crl = told.live ? "Commands with crl still work: each names its epoch and is refused if the task moved on." : "Commands with crl need Kafka too.";
    put($(".dim", banner), `${old}${wait} ${crl}`);
  }
  $("#retry")?.addEventListener("click", connect);
  document.addEventListener("visibilitychange", () => {
    if (!pill) return;
    if (document.hidden) { source?.close(); source = null; clearTimeout(retryTimer); } else if (!source) connect();
  });

  /* ---- orders: every dialog shows the command that it sends, and waits for the monitor's answer ------------------------- */
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    wanted = opener?.dataset.open ?? "";
    if (wanted && !openWanted()) refresh();
    const cancel = event.target.closest("dialog [value=cancel]");
    if (cancel) { event.preventDefault(); cancel.closest("dialog").close(); }
  });
  /* Dialogs are not replaced while one is open, buttons are: the dialog of a new button can come a moment later. */
  function openWanted() {
    const dialog = document.getElementById(wanted);
    if (!dialog || $("dialog[open]")) return false;
    wanted = ""; reset(dialog); dialog.showModal();
    return true;
  }
  const form = (dialog) => $("form", dialog);
  function reset(dialog) {
    const answer = $("[data-answer]", dialog), send = $("[type=submit]", dialog);
    answer.textContent = ""; answer.className = "answer";
    send.hidden = false; send.removeAttribute("aria-busy");
    $("[value=cancel]", dialog).textContent = "Cancel";
    write(form(dialog));
  }
  const quoted = (value) => (/^[\w.:,@/+-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`);
  const isOff = (field) => (field.type === "checkbox" || field.type === "radio") && !field.checked;
  function write(at) {
    const code = $("[data-command]", at);
    const named = (words) => $$("[data-word]", at).reduce((told, field) => told.replaceAll(field.dataset.word, () => quoted(field.value.trim() || field.dataset.word)), words);
    let text = named(code.dataset.command);
    $$("[data-names]", at).forEach((line) => put(line, named(line.dataset.names)));
    $$("[data-flag]", at).filter((field) => field.value.trim() && field.dataset.flag && !isOff(field)).forEach((field) => {
      text += /^(switch|option)$/.test(field.dataset.kind) ? ` ${field.dataset.flag}` : ` ${field.dataset.flag} ${quoted(field.value.trim())}`;
    });
    put(code, text);
  }
  document.addEventListener("input", (event) => {
    const at = event.target.closest("dialog form");
    if (!at) return;
    event.target.setCustomValidity?.("");
    write(at);
  });
  // A browser would round such a number without a word, and the variant would get another configuration.
  const kept = (_name, value) => { if (typeof value === "number" && (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))) throw new RangeError("rounded"); return value; };
  const MEANS = {
    number: Number, day: (text) => `${text}T00:00:00Z`, switch: () => true,
    shares: (text) => text.split(",").map((part) => Number(part.replace("%", "").trim()) / 100),
    json: (text) => { const found = JSON.parse(text, kept); if (typeof found !== "object" || !found || Array.isArray(found)) throw new Error("no object"); return found; },
  };
  const WRONG = { json: "This is not a JSON object, or a number in it has too many digits for a page: use crl register then.", shares: "Write percentages between 0 and 100, such as 5,25,50." };
  function bodyOf(at) {
    const body = JSON.parse(at.dataset.body);
    for (const field of $$("[name]", at)) {
      const text = field.value.trim();
      if (!text || isOff(field)) continue;
      const value = safe(() => (MEANS[field.dataset.kind] ?? String)(text));
      if (value === null || (field.dataset.kind === "shares" && !value.every((share) => share > 0 && share < 1))) {
        field.setCustomValidity(WRONG[field.dataset.kind] ?? "This is not a valid value.");
        field.reportValidity();
        return null;
      }
      body[field.name] = value;
    }
    return body;
  }
  document.addEventListener("submit", async (event) => {
    const at = event.target.closest("dialog form");
    if (!at) return;
    event.preventDefault();
    const dialog = at.closest("dialog"), send = $("[type=submit]", at), answer = $("[data-answer]", at);
    if (!at.reportValidity() || send.getAttribute("aria-busy")) return;
    const order = bodyOf(at);
    if (!order) return;
    send.setAttribute("aria-busy", "true");
    answer.className = "answer"; answer.textContent = "Sending. Waiting for the monitor's answer…";
    try {
      const reply = await fetch(`${base}/commands`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CRL-Token": root.dataset.csrf },
        body: JSON.stringify(order),
      });
      const said = await reply.json();
      if (said.outcome) {
        answer.className = `answer ${said.outcome === "applied" ? "ok" : "bad"}`;
        answer.textContent = `${said.outcome === "applied" ? "Applied" : "Refused"}: ${readable(said.detail)}`;
        send.hidden = true;
        $("[value=cancel]", dialog).textContent = "Close";
        $("[value=cancel]", dialog).focus();
      } else {
        answer.className = "answer bad";
        answer.textContent = `${said.error}${said.hint ? ` ${said.hint[0].toUpperCase()}${said.hint.slice(1)}.` : ""}`;
      }
    } catch {
      answer.className = "answer bad";
      answer.textContent = "This dashboard does not answer, so it is not known whether the command arrived. It can take effect within a minute, a hold of the fleet later too. The command crl audit shows it if it did.";
    } finally { send.removeAttribute("aria-busy"); refresh(); }
  });
  document.addEventListener("close", () => refresh(), true);

  /* ---- marks: the same as the server draws ------------------------------------------------------------------------ */
  const bar = (v) => `a1 1 0 0 1 1-1h5a1 1 0 0 1 1 1v${v}a1 1 0 0 1-1 1h-5a1 1 0 0 1-1-1z`;
  const SHAPES = {
    s: (x) => `M${x} 12${bar(4)}`, f: (x) => `M${x} 1${bar(15)}`, n: (x) => `M${x} 15h7v2h-7z`,
    e: (x) => `M${x}.75 1.75a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1v13.5a1 1 0 0 1-1 1h-3.5a1 1 0 0 1-1-1z`,
  };
  function strip(outcomes, judged) {
    const pad = 20 - outcomes.length, count = { S: 0, F: 0, E: 0 }, paths = {};
    const add = (css, d) => { paths[css] = (paths[css] || "") + d; };
    for (let k = 0; k < pad; k++) add("n", SHAPES.n(k * 9));
    [...outcomes].forEach((o, k) => {
      const name = o.toLowerCase();
      count[o]++;
      add(judged[k] === "J" ? name : `${name} old`, SHAPES[name]((k + pad) * 9));
    });
    for (const run of judged.matchAll(/J+/g)) { const w = run[0].length * 9 - 2; add("u", `M${(run.index + pad) * 9} 18.5h${w}v1.2h-${w}z`); }
    const marks = Object.entries(paths).map(([css, d]) => `<path class="${css}" d="${d}"></path>`).join("");
    const n = judged.length - judged.replaceAll("J", "").length;
    const label = outcomes ? `Last ${outcomes.length} outcome${outcomes.length === 1 ? "" : "s"}: ${count.S} succeeded, ${count.F} failed, ${count.E} error${count.E === 1 ? "" : "s"}; ${n} judged` : "No outcomes yet";
    return `<svg class="strip" role="img" aria-label="${label}" width="178" height="20" viewBox="0 0 178 20">${marks}</svg>`;
  }
  const sy = (v) => 24 - ((Math.min(1, Math.max(0.5, v)) - 0.5) / 0.5) * 22;
  function spark(codes, baseline, low) {
    if (!codes) return `<svg class="spark" aria-hidden="true" viewBox="0 0 92 26"></svg>`;
    const step = codes.length > 1 ? 88 / (codes.length - 1) : 0;
    const at = [...codes].map((c, k) => `${(2 + k * step).toFixed(1)},${sy((c.charCodeAt(0) - 97) / 20).toFixed(1)}`);
    const [x, y] = at[at.length - 1].split(","), b = sy(baseline / 100).toFixed(1);
    return `<svg class="spark" aria-hidden="true" viewBox="0 0 92 26"><line class="b" x1="0" x2="92" y1="${b}" y2="${b}"></line>` +
      `<polyline class="l" points="${at.join(" ")}"></polyline><circle class="d${low ? " low" : ""}" cx="${x}" cy="${y}" r="2.4"></circle></svg>`;
  }
  function pips(moved, of) {
    if (!of) return `<span class="faint">none named</span>`;
    const shown = Math.min(of, 6), full = of <= 6 ? moved : Math.floor((moved * 6) / of);
    return `<span class="pips" aria-hidden="true">${Array.from({ length: shown }, (_, k) => `<i${k < full ? "" : ' class="no"'}></i>`).join("")}</span>${moved}/${of}`;
  }

  /* ---- the table of tasks: all rows in memory, 50 in the page --------------------------------------------------- */
  const FIELDS = ["agent", "task", "variant", "epoch", "outcomes", "judged", "codes", "baseline", "low", "rank", "icon", "css", "word", "more",
    "success", "against", "q", "moved", "of", "time", "drop", "marks", "command"];
  const rowOf = (list) => {
    const row = Object.fromEntries(FIELDS.map((name, k) => [name, list[k]]));
    row.key = `${row.agent}/${row.task}`;
    row.text = `${row.key} ${row.variant} ${row.word} ${row.more}`.toLowerCase();
    return row;
  };
  const cells = (r) => `<td class="c-state"><span class="tag ${r.css}">${icon(r.icon)}<span>${esc(r.word)}</span></span>${r.more ? `<small class="rest">${esc(r.more)}</small>` : ""}</td>` +
    `<td class="c-task"><a class="plain" href="${base}/tasks/${encodeURIComponent(r.agent)}/${encodeURIComponent(r.task)}"><span class="agent">${esc(r.agent)}/</span><b>${esc(r.task)}</b></a></td>` +
    `<td class="c-variant">${esc(r.variant)}<span class="ep">epoch ${r.epoch}</span></td><td class="c-win">${strip(r.outcomes, r.judged)}</td>` +
    `<td class="c-suc"><span class="sucs">${spark(r.codes, r.baseline, r.low)}<span class="v">${r.success}</span><span class="vs">${r.against}</span></span></td>` +
    `<td class="c-q num">${r.q}</td><td class="c-rt">${pips(r.moved, r.of)}</td><td class="c-last num dim"><time datetime="${exact(r.time)}" data-age="">${age(now() - r.time)} ago</time></td>` +
    `<td class="c-cmd"><button class="btn icon ghost" type="button" data-copy="${esc(r.command)}" aria-label="Copy the command: ${esc(r.command)}">${icon("copy")}</button></td>`;
  const compare = (a, b) => { for (let k = 0; k < a.length; k++) if (a[k] !== b[k]) return a[k] < b[k] ? -1 : 1; return 0; };
  const KEYS = {
    attention: (r) => [r.rank], task: () => [], variant: (r) => [r.variant], success: (r) => [r.drop], q: (r) => [Number(r.q || -9)],
    moved: (r) => [r.of ? r.moved / r.of : 2], last: (r) => [-r.time],
  };
  let tasks = null; // made after the first paint
  function makeTable() {
    const table = $("table.tasks"), data = island("tasks-rows");
    if (!table || !data) return null;
    const PAGE = 50, body = $("tbody", table), find = $("#find"), said = $("#said"), resort = $("#resort");
    let rows = new Map(), filter = "", sort = "attention", down = false, page = 0, found = [], shown = new Map();
    const fill = (lists) => { rows = new Map(lists.map((list) => { const row = rowOf(list); return [row.key, row]; })); };
    function select() {
      const words = find.value.trim().toLowerCase().split(/\s+/).filter(Boolean), key = KEYS[sort];
      return [...rows.values()].filter((r) => r.marks.includes(filter) && words.every((w) => r.text.includes(w)))
        .sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)) || compare([a.agent, a.task], [b.agent, b.task]));
    }
    function draw(paint = true) {
      found = select();
      page = Math.min(page, Math.max(0, Math.ceil(found.length / PAGE) - 1));
      const now50 = found.slice(page * PAGE, page * PAGE + PAGE);
      if (paint) body.innerHTML = now50.map((r) => `<tr data-key="${esc(r.key)}">${cells(r)}</tr>`).join("");
      shown = new Map(now50.map((r, k) => [r.key, body.rows[k]]));
      $(".nothing", table.parentElement).hidden = found.length > 0;
      resort.hidden = true;
      words_();
    }
    function words_() {
      const from = found.length ? page * PAGE + 1 : 0, to = Math.min(found.length, page * PAGE + PAGE);
      put(said, `${thousands(from)} to ${thousands(to)} of ${thousands(found.length)} tasks`);
      put($("#match"), found.length < rows.size ? `${thousands(found.length)} match` : "");
      $("#prev").disabled = page === 0; $("#next").disabled = to >= found.length;
      $$(".chip[data-f]").forEach((chip) => put($("span", chip), thousands([...rows.values()].filter((r) => r.marks.includes(chip.dataset.f)).length)));
      put($("#tasks .count"), thousands(rows.size));
    }
    function change({ key, row: list }) {
      const before = rows.get(key), tr = shown.get(key);
      if (!list) { rows.delete(key); queue_(); return; }
      const row = rowOf(list);
      rows.set(key, row);
      if (!before || before.marks !== row.marks || before.rank !== row.rank) {
        queue_();
        if (!before && rows.size <= PAGE && !find.value && !filter) { draw(); return; }
      }
      if (!tr) return;
      const focused = tr.contains(document.activeElement) && document.activeElement.tagName;
      tr.innerHTML = cells(row); tr.classList.add("touched");
      if (focused) $(focused.toLowerCase(), tr)?.focus({ preventScroll: true });
      setTimeout(() => tr.classList.remove("touched"), 900);
    }
    let counting = 0;
    const queue_ = () => { counting ||= setTimeout(() => {
      counting = 0;
      const next = select();
      resort.hidden = next.length === found.length && next.every((r, k) => r.key === found[k].key);
      words_();
    }, 250); };
    find.addEventListener("input", () => { page = 0; draw(); });
    resort.addEventListener("click", () => draw());
    $$(".chip[data-f]").forEach((chip) => chip.addEventListener("click", () => {
      filter = chip.dataset.f; page = 0;
      $$(".chip[data-f]").forEach((c) => c.setAttribute("aria-pressed", String(c === chip)));
      draw();
    }));
    $$("th button", table).forEach((button) => button.addEventListener("click", () => {
      const th = button.closest("th");
      down = sort === button.dataset.s ? !down : false; sort = button.dataset.s;
      $$("th", table).forEach((el) => el.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      draw();
    }));
    const turn = (by) => { page += by; draw(); table.scrollIntoView({ block: "start" }); };
    $("#prev").addEventListener("click", () => turn(-1));
    $("#next").addEventListener("click", () => turn(1));
    $("#clear").addEventListener("click", () => { find.value = ""; $('.chip[data-f=""]').click(); find.focus(); });
    fill(data);
    if (query.get("q")) find.value = query.get("q");
    draw(Boolean(find.value));
    return { change, replace: (lists) => { fill(lists); draw(); } };
  }

  /* ---- charts: success, reward, Q and evidence over one time axis; drawn with uPlot ------------------------------------- */
  const charts = $("[data-charts]");
  let plots = [], chosen = null;
  const colour = (name) => { const el = document.createElement("i"); el.style.color = `var(--${name})`; charts.append(el); const c = getComputedStyle(el).color; el.remove(); return c; };
  function plotAll() {
    if (!charts || typeof uPlot === "undefined") return;
    const d = island("series");
    const drawn = JSON.stringify([d.time, d.limit.length, scheme(), charts.clientWidth]);
    if (charts.dataset.drawn === drawn) return;
    charts.dataset.drawn = drawn;
    plots.forEach((p) => p.destroy()); plots = []; charts.replaceChildren(); chosen = null;
    if (d.time.length < 2) { charts.classList.add("bare"); charts.textContent = "The charts begin with the second snapshot of the task that this page has seen."; point(null); return; }
    charts.classList.remove("bare");
    const good = colour("ok-fill"), text = colour("text"), dim = colour("text-3"), line = colour("line"), bad = colour("bad-fill");
    const font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
    const percent = (v) => `${Math.round(v * 100)}%`;
    const lanes = [
      { name: "Success rate", data: [d.success, d.baseline], f: percent, range: [Math.min(0.4, Math.floor(10 * Math.min(...d.success, ...d.limit)) / 10), 1], shade: (u) => d.limit.length && shadeBelow(u) },
      { name: "Average reward", data: [d.reward], f: (v) => v.toFixed(2) },
      { name: "Q-value", data: [d.q], f: (v) => v.toFixed(2) },
      { name: "Evidence", data: [d.evidence.map((v) => Math.max(1, v))], log: true, f: evidence, shade: (u) => d.needed && band(u, d.needed, u.scales.y.max, bad, 0.09) },
    ];
    /* The band below which the active variant is degraded, and the room above it up to its baseline. */
    function fill(u, above, below, tint, strength) {
      const c = u.ctx, x = (k) => u.valToPos(d.time[k], "x", true), y = (v) => u.valToPos(v, "y", true), last = d.time.length - 1;
      c.save(); c.beginPath(); c.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height); c.clip(); c.beginPath();
      for (let k = 0; k <= last; k++) { if (k) c.lineTo(x(k), y(above(k - 1))); c.lineTo(x(k), y(above(k))); }
      for (let k = last; k >= 0; k--) { c.lineTo(x(k), y(below(k))); if (k) c.lineTo(x(k), y(below(k - 1))); }
      c.closePath(); c.globalAlpha = strength; c.fillStyle = tint; c.fill(); c.restore();
    }
    function edge(u, at, tint) {
      const c = u.ctx, x = (k) => u.valToPos(d.time[k], "x", true), y = (k) => u.valToPos(at(k), "y", true);
      c.save(); c.beginPath(); c.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height); c.clip(); c.beginPath();
      d.time.forEach((_, k) => { if (k) c.lineTo(x(k), y(k - 1)); c.lineTo(x(k), y(k)); });
      c.strokeStyle = tint; c.lineWidth = devicePixelRatio; c.stroke(); c.restore();
    }
    function band(u, low, high, tint, strength) { if (low < high) { fill(u, () => high, () => low, tint, strength); edge(u, () => low, tint); } }
    function shadeBelow(u) {
      fill(u, (k) => d.baseline[k], (k) => d.limit[k], good, 0.14);
      fill(u, (k) => d.limit[k], () => u.scales.y.min, bad, 0.09);
      edge(u, (k) => d.limit[k], bad);
    }
    const changes = d.epoch.map((e, k) => (k && e !== d.epoch[k - 1] ? d.time[k] : null)).filter(Boolean);
    const mark = (u) => {
      const c = u.ctx, [top, bottom] = [u.bbox.top, u.bbox.top + u.bbox.height];
      c.save();
      const lines = [...changes.map((t) => [t, dim, [2, 4]]), ...d.rollbacks.map(([t]) => [t, bad, []])];
      for (const [t, stroke, dash] of lines) {
        if (t < u.scales.x.min || t > u.scales.x.max) continue;
        const x = Math.round(u.valToPos(t, "x", true)) + 0.5;
        c.beginPath(); c.strokeStyle = stroke; c.lineWidth = devicePixelRatio; c.setLineDash(dash); c.moveTo(x, top); c.lineTo(x, bottom); c.stroke();
      }
      c.restore();
    };
    const lowest = d.limit[d.limit.length - 1], needed = d.needed;
    const about = [`of ${percent(d.baseline[d.baseline.length - 1])}, dashed${lowest === undefined ? "" : `; degraded below ${percent(lowest)}, shaded`}`, "", "", needed ? `needed for a rollback: ${evidence(needed)}, shaded` : ""];
    lanes.forEach((lane, n) => {
      const head = document.createElement("p");
      head.className = "lane-name";
      const last = lane.data[0][lane.data[0].length - 1];
      head.innerHTML = `<b>${lane.name}</b> ${lane.f(last)}${!about[n] ? "" : ` <span>${about[n]}</span>`}`;
      charts.append(head);
      const axis = { stroke: dim, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
      plots.push(new uPlot({
        width: charts.clientWidth - 40, height: n === lanes.length - 1 ? 132 : 104,
        legend: { show: false }, padding: [8, 18, n === lanes.length - 1 ? 0 : 6, 0], cursor: { sync: { key: "crl" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { x: { time: true }, y: lane.log ? { distr: 3, range: (u, lo, hi) => [1, Math.max(100, hi * 1.2)] } : lane.range ? { range: lane.range } : {} },
        tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"),
        axes: [
          { ...axis, show: n === lanes.length - 1, space: 90, values: [[86400, "{D} {MMM}"], [3600, "{HH}:{mm}"], [60, "{HH}:{mm}"], [1, "{HH}:{mm}:{ss}"]].map(([s, t]) => [s, t, null, null, null, null, null, null, 1]) },
          { ...axis, size: 62, space: 30, ...(lane.log ? { splits: (u, i, lo, hi) => [1, 100, 1e4, 1e6, 1e8, 1e10, 1e12].filter((v) => v <= hi), filter: null } : {}),
            values: (u, ticks) => ticks.map((v) => (v === null ? "" : lane.f(v))) },
        ],
        series: [{}, { stroke: text, width: 1.75, points: { show: false } }, { stroke: dim, width: 1, dash: [4, 4], points: { show: false } }].slice(0, lane.data.length + 1),
        hooks: { ready: [(u) => { if (n === 0) drawActive(u, d); }], drawClear: [(u) => lane.shade?.(u)], draw: [mark], setCursor: [(u) => { if (n === 0) point(u.cursor.idx ?? null); }] },
      }, [d.time, ...lane.data], charts));
    });
    point(null);
  }
  /* Which variant was active when: a lane on the same axis as the charts, one box for each epoch. */
  function drawActive(u, d) {
    const left = u.over.offsetLeft, width = u.over.clientWidth, x = (t) => Math.max(0, Math.min(width, u.valToPos(t, "x"))), boxes = [];
    d.epoch.forEach((epoch, k) => {
      if (k && epoch === d.epoch[k - 1]) return;
      let end = k;
      while (end + 1 < d.epoch.length && d.epoch[end + 1] === epoch) end++;
      boxes.push([x(d.time[k]), end + 1 < d.epoch.length ? x(d.time[end + 1]) : width, d.variant[k], epoch, end === d.epoch.length - 1]);
    });
    const lane = document.createElement("div");
    lane.className = "actives";
    lane.innerHTML = `<svg aria-hidden="true" width="${left + width}" height="24"><text class="lab" x="0" y="16">Active</text>` + boxes.map(([from, to, variant, epoch, now]) => {
      const size = Math.max(2, to - from), label = `${variant} · epoch ${epoch}`, fits = size > 7 * label.length ? label : size > 7 * variant.length + 12 ? variant : "";
      return `<svg x="${(left + from).toFixed(1)}" width="${size.toFixed(1)}" height="24"><title>${esc(label)}</title><rect class="${now ? "now" : ""}" x=".5" y="1.5" width="${Math.max(1, size - 1).toFixed(1)}" height="21" rx="4"></rect><text x="8" y="16">${esc(fits)}</text></svg>`;
    }).join("") + "</svg>";
    charts.prepend(lane);
  }
  function point(k) {
    const out = $("[data-readout]"), d = island("series"), last = d.time.length - 1;
    chosen = k;
    if (last < 0) { put(out, "no snapshot yet"); return; }
    const at = k ?? last;
    out.innerHTML = `<span><b>${hms(d.time[at] * 1000)}</b>${k === null ? " newest" : ""}</span><span>${esc(d.variant[at])}, epoch ${d.epoch[at]}</span><span>success <b>${Math.round(d.success[at] * 100)}%</b> of ${Math.round(d.baseline[at] * 100)}%</span><span>reward <b>${d.reward[at].toFixed(2)}</b></span><span>Q <b>${d.q[at].toFixed(2)}</b></span><span>evidence <b>${evidence(d.evidence[at])}</b></span>`;
    charts.setAttribute("aria-valuemax", String(Math.max(0, last)));
    charts.setAttribute("aria-valuenow", String(at));
    charts.setAttribute("aria-valuetext", out.textContent);
  }
  charts?.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9, Escape: 0 }[event.key];
    const d = island("series");
    if (step === undefined || !plots.length) return;
    event.preventDefault();
    const k = Math.max(0, Math.min(d.time.length - 1, (chosen ?? d.time.length - 1) + step));
    plots.forEach((u) => u.setCursor(step ? { left: u.valToPos(d.time[k], "x"), top: 10 } : { left: -10, top: -10 }));
    point(step ? k : null);
  });
  if (charts) new ResizeObserver(plotAll).observe(charts);

  /* ---- the queue: one proposal at a time, the address says which ------------------------------------------------------- */
  const review = $("[data-review]");
  const proposals = review && (() => {
    const id = location.hash.slice(1), links = $$(".queue a", review), pages = $$("[data-proposal]", review);
    const known = pages.some((p) => p.dataset.proposal === id), at = known ? id : pages[0]?.dataset.proposal;
    links.forEach((a) => { if (a.hash.slice(1) === at) a.setAttribute("aria-current", "true"); else a.removeAttribute("aria-current"); });
    pages.forEach((p) => { p.hidden = p.dataset.proposal !== at; });
    if (id && at === id) review.dataset.one = ""; else delete review.dataset.one;
  });
  if (review) {
    document.addEventListener("click", (event) => {
      const link = event.target.closest(".queue a:not([data-far])"), back = event.target.closest(".back");
      if (!link && !back) return;
      event.preventDefault();
      history.replaceState(null, "", link ? link.hash : location.pathname);
      proposals(); scrollTo(0, 0);
    });
    const find = () => {
      const id = location.hash.slice(1), here = $$("[data-proposal]", review).some((p) => p.dataset.proposal === id);
      if (id && !here && query.get("show") !== id) location.replace(`${base}/review?show=${encodeURIComponent(id)}#${encodeURIComponent(id)}`);
      else proposals();
    };
    addEventListener("hashchange", find);
    find();
  }

  /* ---- a dashboard that is starting: what it says is shown until it can show the page itself ------------------------------ */
  async function ask() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (answer?.status !== 503 && answer) { location.reload(); return; }
    const next = answer && $(".banner", new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (next && $(".banner").innerHTML !== next.innerHTML) $(".banner").innerHTML = next.innerHTML;
    setTimeout(ask, 2000);
  }
  if (root.dataset.page === "waiting") setTimeout(ask, 2000);

  /* ---- keys: / finds, j and k walk the queue, a r d decide ------------------------------------------------------------ */
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog[open]")) return;
    if (event.key === "/") {
      event.preventDefault();
      if ($("#find")) $("#find").focus(); else location.href = `${base}/#tasks`;
      return;
    }
    const key = /^[ard]$/.test(event.key) && $(`[data-proposal]:not([hidden]) [data-akey="${event.key}"]`);
    if (key) { event.preventDefault(); key.click(); return; }
    if (event.key === "j" || event.key === "k") {
      const all = $$(".review .queue a"), k = all.findIndex((a) => a.hasAttribute("aria-current"));
      const next = all[k + (event.key === "j" ? 1 : -1)];
      if (next) { event.preventDefault(); next.click(); next.scrollIntoView({ block: "nearest" }); }
    }
  });
  document.addEventListener("click", (event) => {
    const more = event.target.closest("[data-more]");
    if (more) { document.getElementById(more.dataset.more).classList.remove("few"); more.remove(); }
  });
  $$("[data-end]").forEach((el) => { el.scrollLeft = el.scrollWidth; }); // the newest is what matters

  /* ---- begin ------------------------------------------------------------------------------------------------------ */
  /* The page is complete as it comes: it is painted first, and what the script adds comes after. */
  let begun = false;
  function begin() {
    if (begun) return;
    begun = true;
    tasks = makeTable();
    tick(); plotAll();
    setInterval(() => { tick(); pulse(); }, 1000);
    if (pill) { connect(); pulse(); }
  }
  requestAnimationFrame(() => setTimeout(begin));
  setTimeout(begin, 1000); // a page in the background gets no frames
})();
