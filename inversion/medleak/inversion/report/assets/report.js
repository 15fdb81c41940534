"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("payload").textContent);
  const base64 = $("pictures").textContent.split("\n");
  const { columns, words, frames, priors, sheets, stops } = data;
  const place = Object.fromEntries(columns.map((name, k) => [name, k + 1]));
  const PICTURE = columns.length + 1, ORIGINAL = PICTURE + 1, ITERATIONS = PICTURE + 2;
  const SHEET = PICTURE + 3, ORIGINAL_SHEET = PICTURE + 4;
  let revealed = data.originals === "shown";

  // Every text of the audit ends up in textContent, an attribute or a file, never in markup.
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const cut = (text, longest = 60) => text.length > longest ? text.slice(0, longest - 1) + "…" : text;
  const value = (frame, name) => {
    const v = frame[place[name]];
    return v !== null && words[name] && typeof v === "number" ? words[name][v] : v;
  };
  const source = (k) => {
    if (base64[k]) return "data:image/png;base64," + base64[k];
    const shown = document.querySelector(`img[data-place="${k}"]`);
    return shown ? shown.src : "";
  };
  const number = (v, digits = 3) => v === null || v === undefined ? "not known" : v.toFixed(digits);

  // Pictures -----------------------------------------------------------------------------------
  const zoom = $("zoom"), large = $("zoom-picture"), size = $("zoom-size");
  const resize = () => { large.width = large.naturalWidth * Number(size.value); };
  const enlarge = (title, url) => {
    $("zoom-title").textContent = title;
    large.onload = () => {
      const room = Math.min(innerWidth * 0.85, innerHeight * 0.7);
      size.value = Math.max(1, Math.floor(room / Math.max(large.naturalWidth, large.naturalHeight) * 2) / 2);
      resize();
    };
    large.alt = title;
    large.src = url;
    zoom.showModal();
  };
  size.addEventListener("input", resize);
  $("zoom-close").addEventListener("click", () => zoom.close());
  document.addEventListener("click", (event) => {
    const frame = event.target.closest("button.frame");
    if (!frame) return;
    const inner = frame.firstElementChild;
    enlarge(frame.dataset.enlarge, inner.tagName === "CANVAS" ? inner.toDataURL() : inner.src);
  });
  const framed = (inner, title) => {
    const button = make("button", { type: "button", className: "frame" }, inner);
    button.dataset.enlarge = title;
    return button;
  };
  const image = (k, title) => framed(make("img", { src: source(k), alt: title }), title);
  const tile = (heading, body, note = "") => {
    const parts = [make("h3", { textContent: heading }), body];
    if (note) parts.push(make("p", { className: "small", textContent: note }));
    return make("div", { className: "tile" }, ...parts);
  };
  const loaded = (url) => new Promise((done, failed) => {
    const picture = new Image();
    picture.onload = () => done(picture);
    picture.onerror = failed;
    picture.src = url;
  });
  const drawn = (title) => {
    const canvas = make("canvas", { width: 1, height: 1 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    return canvas;
  };
  // A volume's sheet has a row of planes for each place in it; a row is as high as its picture.
  const row = (picture, of, where) => {
    const height = of.naturalHeight, rows = Math.max(1, Math.round(picture.naturalHeight / height));
    return [0, Math.min(rows - 1, Math.round(where * (rows - 1))) * height, picture.naturalWidth, height];
  };
  const plane = (sheet, of, where, title) => {
    const canvas = drawn(title);
    Promise.all([loaded(source(sheet)), loaded(source(of))]).then(([picture, one]) => {
      const cut = row(picture, one, where);
      Object.assign(canvas, { width: cut[2], height: cut[3] });
      canvas.getContext("2d").drawImage(picture, ...cut, 0, 0, cut[2], cut[3]);
      canvas.dataset.ready = "true";
    });
    return framed(canvas, title);
  };
  const difference = (original, rebuilt, title, sheet = null, where = 0) => {
    const canvas = drawn(title);
    const wanted = [original, rebuilt, ...(sheet ?? [])];
    Promise.all(wanted.map((k) => loaded(source(k)))).then(([first, second, ...whole]) => {
      const [width, height] = [second.naturalWidth, second.naturalHeight];
      Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const pixels = [first, second].map((picture, k) => {
        if (sheet) context.drawImage(whole[k], ...row(whole[k], picture, where), 0, 0, width, height);
        else context.drawImage(picture, 0, 0, width, height);
        return context.getImageData(0, 0, width, height);
      });
      const [a, b] = pixels;
      for (let k = 0; k < a.data.length; k += 4) {
        for (let c = 0; c < 3; c++) a.data[k + c] = Math.abs(a.data[k + c] - b.data[k + c]);
        a.data[k + 3] = 255;
      }
      context.putImageData(a, 0, 0);
      canvas.dataset.ready = "true";
    });
    return framed(canvas, title);
  };

  // Gallery ------------------------------------------------------------------------------------
  const GAP = "\u001f";
  const PLACES = 33; // of the slider through a volume; a sheet may have fewer rows
  const last = priors.length - 1;
  const attackOf = (f) => value(f, "attack") + GAP + value(f, "knowledge");
  const imageOf = (f) => value(f, "truth_image") ?? `reconstruction ${value(f, "reconstruction")}`;
  const key = (which, site, round, attack, defence, seed, picture) =>
    [which, site, round, attack, defence, seed, picture].join("\u001e");
  const index = new Map();
  for (const f of frames) {
    const k = key(f[0], value(f, "site"), value(f, "round"), attackOf(f), value(f, "defence"), value(f, "seed"), imageOf(f));
    if (!index.has(k)) index.set(k, f);
  }
  const distinct = (list, of) => [...new Set(list.map(of))];
  const natural = new Intl.Collator("en", { numeric: true }).compare;
  const fill = (select, values, label = (v) => v) => {
    const before = select.selectedIndex >= 0 ? select.options[select.selectedIndex]._value : undefined;
    select.replaceChildren(...values.map((v, k) => Object.assign(make("option", { textContent: cut(String(label(v)), 70), value: k }), { _value: v })));
    select.selectedIndex = Math.max(0, values.indexOf(before));
    select.closest("label").hidden = values.length < 2;
  };
  const chosen = (select) => select.options[select.selectedIndex]?._value;
  const slide = (slider, count) => {
    slider.max = Math.max(0, count - 1);
    if (Number(slider.value) >= count) slider.value = Math.max(0, count - 1);
    slider.closest("label").hidden = count < 2;
  };
  const note = (f) => {
    const parts = [];
    if (value(f, "ssim") !== null) parts.push(`similarity ${number(value(f, "ssim"))}`);
    if (value(f, "rdlv") !== null) parts.push(`RDLV ${number(value(f, "rdlv"))}`);
    if (value(f, "stuck")) parts.push("the attack stopped short");
    return parts.join(", ") || "not measured";
  };

  const viewer = $("viewer");
  const draw = () => {
    const site = chosen($("pick-site")), attack = chosen($("pick-attack")), seed = chosen($("pick-seed"));
    const family = stops[$("pick-family").selectedIndex];
    const here = frames.filter((f) => f[0] === last && value(f, "site") === site);
    const rounds = distinct(here, (f) => value(f, "round")).sort((a, b) => a - b);
    slide($("slide-round"), rounds.length);
    slide($("slide-strength"), family.stops.length);
    const round = rounds[Number($("slide-round").value)];
    const stop = family.stops[Number($("slide-strength").value)];
    $("say-round").textContent = round;
    $("say-strength").textContent = cut(stop.label, 40);
    $("slide-round").setAttribute("aria-valuetext", `round ${round}`);
    $("slide-strength").setAttribute("aria-valuetext", stop.label);
    const images = distinct(here.filter((f) => value(f, "round") === round && attackOf(f) === attack), imageOf);
    fill($("pick-image"), images.sort(natural));
    const which = chosen($("pick-image"));
    const find = (audit) => index.get(key(audit, site, round, attack, stop.defence, seed, which));
    const frame = find(last), before = last ? find(0) : undefined;
    const tiles = [];
    const steps = frame ? frame[ITERATIONS] : [];
    slide($("slide-iteration"), steps.length ? steps.length + 1 : 0);
    if (!frame || frame[PICTURE] === null) {
      $("tiles").replaceChildren();
      $("caption").textContent = frame
        ? "The picture is not in this file (see “About this file”): " + note(frame)
        : "This combination is not in this file: it was not attacked, or was refused or left out.";
      return;
    }
    const under = Number($("slide-iteration").value);
    const step = steps.length && under < steps.length ? steps[under] : null;
    $("say-iteration").textContent = step ? `iteration ${step[0]}` : "the end";
    $("slide-iteration").setAttribute("aria-valuetext", $("say-iteration").textContent);
    const name = cut(site, 40);
    const original = frame[ORIGINAL];
    const deep = frame[SHEET] !== null && !step;
    $("slide-plane").closest("label").hidden = !deep;
    const where = Number($("slide-plane").value) / (PLACES - 1);
    $("say-plane").textContent = `${Math.round(100 * where)} %`;
    $("slide-plane").setAttribute("aria-valuetext", $("say-plane").textContent);
    const show = (k, sheet, title) => deep && sheet !== null && sheet !== undefined ? plane(sheet, k, where, title) : image(k, title);
    if (original !== null && revealed) tiles.push(tile("Original", show(original, frame[ORIGINAL_SHEET], `original of ${name}`), value(frame, "transformation") ?? ""));
    else if (original !== null) tiles.push(tile("Original", hiddenOriginal()));
    if (priors[last] !== null) tiles.push(tile("Guess", show(priors[last], sheets[last], "guess from public images"), value(frame, "ssim_prior") === null ? "" : `similarity ${number(value(frame, "ssim_prior"))}`));
    if (before && before[PICTURE] !== null) tiles.push(tile("Rebuilt, before", show(before[PICTURE], before[SHEET], `image of ${name} rebuilt in the first audit`), note(before)));
    const rebuilt = step ? step[1] : frame[PICTURE];
    tiles.push(tile(last ? "Rebuilt, after" : "Rebuilt", show(rebuilt, step ? null : frame[SHEET], `image rebuilt from the update of ${name}, round ${round}`), step ? `iteration ${step[0]}` : note(frame)));
    if (original !== null && revealed) tiles.push(tile("Difference", difference(original, rebuilt, "difference of original and rebuilt image", deep && frame[ORIGINAL_SHEET] !== null ? [frame[ORIGINAL_SHEET], frame[SHEET]] : null, where), "black: the same"));
    $("tiles").replaceChildren(...tiles);
    const protection = (name, none, some) => value(frame, name) === "none" ? none : `${some} ${cut(value(frame, name), 80)}`;
    const sent = protection("declared", "sent without protection", "sent under");
    const replayed = protection("defence", "attacked as sent", "attacked with a replayed");
    $("caption").textContent = `${name}, round ${round}, ${cut(imageOf(frame), 30)}, ${sent}, ${replayed}; ${step ? "at the end " : ""}${note(frame)}.`;
  };
  const hiddenOriginal = () => {
    const button = make("button", { type: "button", className: "reveal" }, make("span", { textContent: "Hidden. Show the originals" }));
    button.addEventListener("click", () => reveal(true));
    return button;
  };
  const reveal = (yes) => {
    revealed = yes;
    const box = $("reveal-all");
    if (box) box.checked = yes;
    for (const button of document.querySelectorAll(".telling .reveal")) {
      if (yes) button.replaceWith(image(Number(button.dataset.place), button.dataset.words));
    }
    if (viewer) draw();
  };
  for (const button of document.querySelectorAll(".telling .reveal")) button.addEventListener("click", () => reveal(true));

  if (viewer && frames.length) {
    const own = frames.filter((f) => f[0] === last);
    const best = own.reduce((a, b) => ((value(b, "ssim") ?? -1) > (value(a, "ssim") ?? -1) && value(b, "defence") === "none" ? b : a), own[0]);
    fill($("pick-site"), distinct(own, (f) => value(f, "site")).sort(natural));
    fill($("pick-attack"), distinct(own, attackOf), (v) => v.split(GAP).join(", knowing "));
    fill($("pick-seed"), distinct(own, (f) => value(f, "seed")));
    fill($("pick-family"), stops.map((s) => s.family));
    const choose = (id, v) => { const k = [...$(id).options].findIndex((o) => o._value === v); if (k >= 0) $(id).selectedIndex = k; };
    choose("pick-site", value(best, "site"));
    choose("pick-attack", attackOf(best));
    choose("pick-seed", value(best, "seed"));
    $("slide-plane").max = PLACES - 1;
    $("slide-plane").value = (PLACES - 1) / 2; // start in the middle
    slide($("slide-iteration"), 1e6);
    $("slide-iteration").value = 1e6; // start at the end of the attack
    const rounds = distinct(own.filter((f) => value(f, "site") === value(best, "site")), (f) => value(f, "round")).sort((a, b) => a - b);
    $("slide-round").max = rounds.length - 1;
    $("slide-round").value = rounds.indexOf(value(best, "round"));
    viewer.hidden = false;
    for (const id of ["pick-site", "pick-attack", "pick-image", "pick-seed", "pick-family", "slide-round", "slide-strength", "slide-iteration", "slide-plane"]) $(id).addEventListener("input", draw);
    $("smooth").addEventListener("input", (event) => document.body.classList.toggle("pixels", !event.target.checked));
    $("reveal-all")?.addEventListener("input", (event) => reveal(event.target.checked));
    draw();

    const bySite = new Map();
    const similarity = (f) => value(f, "ssim") ?? -1;
    for (const f of own) {
      if (f[PICTURE] === null || value(f, "defence") !== "none") continue;
      const site = value(f, "site"), known = bySite.get(site);
      if (!known || similarity(f) > similarity(known)) bySite.set(site, f);
    }
    if (!bySite.size) $("sheet").textContent = "There is none: no update was attacked as it was sent, or no such picture is in this file.";
    const sheet = [...bySite.keys()].sort(natural).slice(0, 60).map((site) => {
      const f = bySite.get(site), name = cut(site, 40);
      const pair = make("div", { className: "pair" });
      if (priors[last] !== null) pair.append(image(priors[last], "guess from public images"));
      pair.append(image(f[PICTURE], `closest image rebuilt from updates of ${name}`));
      const against = value(f, "ssim_prior") === null ? "" : ` (guess ${number(value(f, "ssim_prior"), 2)})`;
      return make("div", {}, pair, make("p", { className: "small" }, make("bdi", { textContent: name }), `, round ${value(f, "round")}: ` + (value(f, "ssim") === null ? "not measured" : number(value(f, "ssim"), 2) + against)));
    });
    $("sheet").append(...sheet);
  }

  // Tables and files ---------------------------------------------------------------------------
  const cell = (v) => {
    if (v === null || v === undefined) return "";
    let text = String(v);
    // A spreadsheet must not take a site's name for a formula.
    if (typeof v === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const save = (name, lines) => {
    const text = lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
    const url = URL.createObjectURL(new Blob(["\ufeff" + text], { type: "text/csv;charset=utf-8" }));
    const link = make("a", { href: url, download: name.replace(/[^A-Za-z0-9_-]+/g, "-").slice(0, 60) + ".csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  $("all-csv").addEventListener("click", () => {
    const head = last ? ["audit", ...columns] : columns;
    save(data.job + "-images", [head, ...frames.map((f) => {
      const line = columns.map((name) => value(f, name));
      return last ? [f[0] ? "after" : "before", ...line] : line;
    })]);
  });
  const plain = (text) => text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  const shown = (td) => plain(td.matches(".number") && td.dataset.value || td.textContent.trim().replace(/\s+/g, " "));
  const lines = (table) => {
    const rows = [...table.rows].map((row) => [...row.cells]);
    const interval = rows[0].map((_, k) => rows.some((row) => row[k]?.dataset.low !== undefined));
    const spread = (head, cell, k) => {
      if (!interval[k]) return [shown(cell)];
      const bounds = [cell.dataset.low, cell.dataset.high].map((bound) => plain(bound ?? ""));
      return [shown(cell), ...(head ? ["lower 95 %", "upper 95 %"].map((b) => `${shown(cell)}, ${b}`) : bounds)];
    };
    return rows.map((row, k) => row.flatMap((cell, c) => spread(k === 0, cell, c)));
  };
  for (const button of document.querySelectorAll("button.csv")) {
    button.addEventListener("click", () => {
      const table = button.parentElement.previousElementSibling.querySelector("table");
      save(button.dataset.name, lines(table));
    });
  }
  const sortable = (td) => {
    const raw = td.dataset.value ?? td.textContent.trim();
    return raw !== "" && Number.isFinite(Number(raw)) ? Number(raw) : raw;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return natural(a, b);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const keyed = rows.map((row) => [sortable(row.cells[head.cellIndex] ?? row.cells[0]), row]);
        keyed.sort((x, y) => (up ? 1 : -1) * compare(x[0], y[0]));
        table.tBodies[0].append(...keyed.map((pair) => pair[1]));
      });
    }
  }
  const find = $("find-site");
  if (find) {
    const rows = [...$("sites-table").tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase().replace(/\s+/g, " "));
    $("find").hidden = false;
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, k) => {
        row.hidden = !words.every((word) => texts[k].includes(word));
        count += row.hidden ? 0 : 1;
      });
      $("found-sites").textContent = words.length ? `${count} of ${rows.length} sites` : "";
    });
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", () => {
      const range = document.createRange();
      range.selectNodeContents(button.previousElementSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      // The clipboard API asks for a permission that a file from a disk may not get.
      button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
    });
  }

  // Values under the pointer -------------------------------------------------------------------
  const tip = $("tip");
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const box = mark.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(box.x + scrollX, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${box.y + scrollY - tip.offsetHeight - 8}px`;
  });
  addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details")) d.open = true; });
})();
