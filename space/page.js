window.winePage = (() => {
  "use strict";

  const query = new URLSearchParams(location.search);
  const wanted = [query.get("lang"), navigator.language.slice(0, 2)].find(tag => tag in wineTexts);
  const language = wanted ?? "en";
  // gradio takes the language of its own labels from the browser's
  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });
  document.documentElement.lang = language;

  const number = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const oneDigit = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const twoDigits = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const percent = share => (share < 0.0005 ? "<\u2009" + oneDigit.format(0.001) : oneDigit.format(share));

  function text(key, values = {}) {
    return wineTexts[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  /** Fill in what is marked with data-text and data-label. */
  function translate(element) {
    for (const each of element.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text, JSON.parse(each.dataset.values ?? "{}"));
    for (const each of element.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
    for (const each of element.querySelectorAll(".languages a")) {
      if (each.lang === language) each.setAttribute("aria-current", "true");
      each.addEventListener("click", () => {
        const kept = new URLSearchParams(location.search);
        kept.set("lang", each.lang);
        each.search = kept;
      });
    }
  }

  function make(tag, className, content = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = content;
    return made;
  }

  const sameText = (one, other) => one && other && JSON.stringify([one.words, one.settings]) === JSON.stringify([other.words, other.settings]);

  /** What one word is called when it stands alone. */
  function name(value, place) {
    if (place === 0) return text("start");
    return value.words[place].trim() || text("end");
  }

  /**
   * Write a text as elements, one a word, and return them. A comma stays on the line of the word before it.
   * Words count from the start of the text, which is word 0.
   */
  function drawWords(value, eyebrow, box, raw, makeWord) {
    const spans = [];
    eyebrow.replaceChildren();
    box.replaceChildren();
    let unbroken = null;
    value.words.forEach((word, place) => {
      const inHeader = !raw && place < value.header;
      const parent = inHeader ? eyebrow : box;
      const spaced = raw ? ` ${word.trim()}` : value.shown[place];
      let bare = spaced.trimStart();
      if (place === 0) bare = "▸";
      else if (bare === "") bare = "∎";
      else if (inHeader && bare === ":") bare = "·";
      if (raw && !value.unknown.includes(place)) bare = bare.toLowerCase();
      if (unbroken && bare === "·") unbroken.append(" ");
      else if (bare !== spaced || place < 2 || unbroken.parentElement !== parent) {
        unbroken = make("span", "unbroken");
        parent.append(" ", unbroken);
      }
      const span = makeWord(place, bare);
      span.textContent = bare;
      if (place < value.given) span.classList.add("given");
      if (place === 0 || value.words[place] === "") span.classList.add("mark");
      if (value.unknown.includes(place)) span.classList.add("unknown");
      unbroken.append(span);
      spans.push(span);
    });
    eyebrow.hidden = !eyebrow.hasChildNodes();
    return spans;
  }

  // what gradio's own page says, in English alone
  const english = {
    "This application is currently busy. Please try again.": "busy",
    "Connection errored out.": "connection",
    "Connection to the server was lost. Attempting reconnection...": "connection",
    "An error occurred.": "failed",
  };
  new MutationObserver(() => {
    for (const message of document.querySelectorAll("[data-testid=toast-text]")) {
      const key = english[message.textContent.trim()];
      if (key) message.textContent = text(key);
    }
  }).observe(document, { childList: true, subtree: true });

  let tips = 0;

  /** Show what tell(place) says of a word under the pointer or the focus. */
  function showTips(element, tell) {
    const tip = element.querySelector(".tip");
    tip.id = `tip-${++tips}`;
    function show(event) {
      const word = event.target.closest("[data-place]");
      const told = word && tell(Number(word.dataset.place));
      tip.hidden = !told;
      if (!told) return;
      tip.textContent = told;
      word.setAttribute("aria-describedby", tip.id);
      const [at, frame] = [word.getBoundingClientRect(), tip.offsetParent.getBoundingClientRect()];
      const middle = at.left - frame.left + at.width / 2;
      const half = tip.offsetWidth / 2;
      tip.style.left = `${Math.min(Math.max(middle, half + 4), frame.width - half - 4)}px`;
      tip.style.top = `${at.top - frame.top}px`;
    }
    function hide() { tip.hidden = true; }
    for (const event of ["pointerover", "focusin"]) element.addEventListener(event, show);
    for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, hide);
  }

  async function copy(content) {
    try {
      await navigator.clipboard.writeText(content);
    } catch {
      // without https or the permission
      const area = make("textarea", "", content);
      area.value = content;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function address(prompt, settings) {
    const link = new URL(location.href);
    for (const [key, value] of Object.entries({ prompt, ...settings })) link.searchParams.set(key, value);
    return link.href;
  }

  /** The part of the page with the review and what the model thought. */
  function review(element, trigger, props, watch) {
    translate(element);
    const find = selector => element.querySelector(selector);
    const [card, box, panel] = [find(".card"), find(".words"), find(".inside")];
    let drawn = null, spans = [], chosen = null, raw = false, stopped = false;
    const view = { layer: null, head: null };

    const value = () => props.value;
    const written = () => value().words.length - value().given - (value().state === "end" ? 1 : 0);
    const busy = () => value()?.state === "writing" && !stopped;

    function draw() {
      const fresh = !sameText(drawn, value());
      if (fresh) {
        const goesOn = drawn && drawn.prompt === value().prompt && drawn.words.length <= value().words.length
          && drawn.words.every((word, place) => word === value().words[place]);
        const before = goesOn ? spans.length : value().given;
        stopped = stopped && goesOn;
        chosen = null;
        spans = drawWords(value(), find(".eyebrow"), box, raw, (place, bare) => {
          const word = make(place ? "button" : "span", "word");
          word.dataset.place = place;
          word.tabIndex = -1;
          if (place) word.type = "button";
          if (value().words[place] === "" && place) word.setAttribute("aria-label", text("end"));
          if (busy() && place >= before) {
            word.classList.add("new");
            word.style.animationDelay = `${(place - before) * 15}ms`;
          }
          return word;
        });
        const first = spans[Math.min(value().given, spans.length - 1)];
        if (first) first.tabIndex = 0;
      }
      drawn = value();
      drawState();
      drawInside();
    }

    function drawState() {
      const { state, unknown, words } = value();
      card.dataset.state = busy() ? "writing" : "written";
      card.dataset.seed = value().settings.seed;
      find(".stop").hidden = !busy();
      find(".again").hidden = busy();
      find(".status").textContent = busy() ? text("writing")
        : text(stopped && state === "writing" ? "stopped" : "written", { count: number.format(written()) }) + " " + text("hint");
      find(".unknown-note").textContent = unknown.length
        ? text("unknown_note", { words: [...new Set(unknown.map(place => words[place].trim()))].join(" ") }) : "";
      drawCopied();
    }

    // gradio tells the place in the queue beside this part of the page, in English alone
    const block = element.closest(".block");
    let waiting = false;
    new MutationObserver(() => {
      const told = block.querySelector(".progress-text")?.textContent;
      if (told !== undefined) {
        const place = /queue: (\d+)/.exec(told)?.[1];
        const now = place ? text("waiting", { place }) : text("writing");
        if (find(".status").textContent !== now) find(".status").textContent = now;
      } else if (waiting) {
        find(".status").textContent = "";
        if (value()) drawState();
      }
      waiting = told !== undefined;
    }).observe(block, { childList: true, subtree: true, characterData: true });

    function drawCopied() {
      const { copied, state } = value();
      find(".copying").hidden = state === "writing";
      spans.forEach((span, place) => span.classList.toggle("shared", !!copied && place >= copied.start && place < copied.start + copied.length));
      if (!copied) {
        find(".copying-found").textContent = text("copied_absent");
        find(".copying-honest").textContent = "";
        return;
      }
      const figures = { n: copied.n, reviews: copied.reviews.toLocaleString(language), length: copied.length, words: copied.words };
      find(".copying-found").textContent = text(copied.length ? "copied_some" : "copied_none", figures);
      // the index of a few reviews errs so rarely that the figure would say nothing
      const odds = number.format(1 / Math.max(copied.error_rate, 1e-6));
      find(".copying-honest").textContent = text("copied_honest", { n: copied.n, odds });
    }

    function ready() {
      const { inside, words } = value();
      return inside && inside.layer === view.layer && inside.head === view.head && inside.steps.length === words.length - 1;
    }

    function ask() {
      const { prompt, ids, settings } = value();
      trigger("look", { prompt, ids, settings, ...view });
    }

    function select(place) {
      if (!value() || busy() || place < 1 || place >= spans.length) return;
      chosen = place;
      spans.forEach((span, other) => { span.tabIndex = other === place ? 0 : -1; });
      ready() ? drawInside() : ask();
    }

    function drawInside() {
      if (chosen !== null && value().inside && !ready()) {
        // an answer to an earlier question: ask again
        ask();
        return;
      }
      const open = chosen !== null && ready();
      panel.hidden = !open;
      card.classList.toggle("looking", open);
      spans.forEach((span, place) => {
        span.classList.toggle("chosen", open && place === chosen);
        span.classList.toggle("later", open && place > chosen);
        span.classList.toggle("attended", open && place < chosen);
        span.removeAttribute("aria-current");
        span.style.removeProperty("--share");
      });
      if (!open) return;
      const { words, settings, inside } = value();
      const step = inside.steps[chosen - 1];
      const highest = Math.max(...step.attention);
      step.attention.forEach((weight, place) => spans[place].style.setProperty("--share", weight / highest));
      spans[chosen].setAttribute("aria-current", "true");
      const temperature = number.format(settings.temperature);
      find(".chosen-word").textContent = words[chosen] === "" ? text("end") : text("quoted", { word: words[chosen].trim() });
      find(".chosen-share").textContent = [
        text("share_at", { share: percent(step.warm), temperature }),
        text("share_plain", { share: percent(step.plain) }),
        step.rank === 1 ? text("likeliest") : text("rank", { rank: step.rank.toLocaleString(language) }),
      ].join(" · ");
      find(".after-name").textContent = text("after", { temperature });
      find(".back").disabled = chosen <= 1;
      find(".forward").disabled = chosen >= words.length - 1;
      drawBars(step);
      drawLooked(step);
    }

    function drawBars(step) {
      const { ids, given, words } = value();
      const own = chosen < given ? null : ids[chosen - given];
      const isChosen = ([index, word]) => (own === null ? word === words[chosen].trim().toLowerCase() : index === own);
      const rows = [...step.next];
      if (!rows.some(isChosen)) rows.push([own, name(value(), chosen), step.plain, step.warm]);
      const highest = Math.max(...rows.map(([, , plain, warm]) => Math.max(plain, warm)));
      find(".bars").replaceChildren(...rows.map(row => {
        const [index, word, plain, warm] = row;
        const mine = isChosen(row);
        const item = make("li", mine ? "chosen" : "");
        const takeable = own !== null && !mine;
        const line = make(takeable ? "button" : "div", "bar");
        const bars = make("span", "both");
        for (const [kind, share] of [["bar-before", plain], ["bar-after", warm]]) {
          const bar = make("i", kind);
          bar.style.width = `${(100 * share) / highest}%`;
          bars.append(bar);
        }
        const shown = word === "∎" ? text("end") : word;
        line.append(make("span", "bar-word", shown), bars, make("span", "figure before", percent(plain)), make("span", "figure", percent(warm)));
        if (takeable) {
          line.type = "button";
          line.title = text("take", { word: shown });
          line.dataset.id = index;
        }
        const about = [text("before") + " " + percent(plain), text("after", { temperature: number.format(value().settings.temperature) }) + " " + percent(warm)];
        if (takeable) line.setAttribute("aria-label", [text("take", { word: shown }), ...about].join(", "));
        if (mine) item.setAttribute("aria-current", "true");
        item.append(line);
        return item;
      }));
    }

    function drawLooked(step) {
      const order = step.attention.map((weight, place) => [weight, place]).sort((one, other) => other[0] - one[0]).slice(0, 6);
      find(".looked").replaceChildren(...order.map(([weight, place]) => {
        const item = make("li", "");
        const bar = make("i", "");
        bar.style.width = `${(100 * weight) / order[0][0]}%`;
        const track = make("span", "both");
        track.append(bar);
        item.append(make("span", "bar-word", name(value(), place)), track, make("span", "figure", twoDigits.format(weight)));
        return item;
      }));
    }

    function fillView(select, key, count) {
      const mean = new Option(text("mean"), "");
      select.replaceChildren(mean, ...Array.from({ length: count }, (_, index) => new Option(String(index), String(index))));
      select.addEventListener("change", () => {
        view[key] = select.value === "" ? null : Number(select.value);
        if (chosen !== null) ready() ? drawInside() : ask();
      });
    }

    fillView(find("select.layer"), "layer", props.layers);
    fillView(find("select.head"), "head", props.heads);
    showTips(element, place => {
      if (value().unknown.includes(place)) return text("unknown");
      if (chosen === null || !ready() || place >= chosen) return "";
      return `${name(value(), place)}: ${text("of_attention", { share: twoDigits.format(value().inside.steps[chosen - 1].attention[place]) })}`;
    });

    card.addEventListener("click", event => {
      const word = event.target.closest("button.word");
      if (word) {
        word.focus();
        select(Number(word.dataset.place));
      }
      const bar = event.target.closest("button.bar");
      if (bar) {
        const { prompt, ids, settings, given } = value();
        trigger("branch", { prompt, settings, ids: [...ids.slice(0, chosen - given), Number(bar.dataset.id)] });
      }
    });
    card.addEventListener("keydown", event => {
      const word = event.target.closest(".word");
      if (!word) return;
      const here = Number(word.dataset.place);
      const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: value().given, End: spans.length - 1 }[event.key];
      if (event.key === "Escape") { chosen = null; drawInside(); }
      if (there === undefined || !spans[there]) return;
      event.preventDefault();
      if (event.shiftKey) spans[there].focus();
      else if (there > 0) { spans[there].focus(); select(there); }
    });
    find(".back").addEventListener("click", () => select(chosen - 1));
    find(".forward").addEventListener("click", () => select(chosen + 1));
    find(".close").addEventListener("click", () => { const last = chosen; chosen = null; drawInside(); spans[last]?.focus(); });
    find(".again").addEventListener("click", () => trigger("again"));
    find(".stop").addEventListener("click", () => { stopped = true; trigger("halt"); draw(); });
    find(".raw").addEventListener("change", event => {
      raw = event.target.checked;
      const last = chosen;
      drawn = null;
      card.classList.toggle("as-is", raw);
      if (value()) { draw(); if (last !== null) select(last); }
    });
    async function copied(button, key, content) {
      await copy(content);
      button.textContent = text("copied_text");
      setTimeout(() => { button.textContent = text(key); }, 1500);
    }
    find(".copy").addEventListener("click", event => value()
      && copied(event.currentTarget, "copy", raw ? value().words.map(word => word.trim()).join(" ").trim() : value().shown.join("").trim()));
    find(".link").addEventListener("click", event => value()
      && copied(event.currentTarget, "link", address(value().prompt, value().settings)));
    watch("value", () => { if (value()) draw(); });
    if (value()) draw();
  }

  /** Two reviews side by side, and the words whose probability differs most. */
  function pair(element, props, watch) {
    translate(element);
    function draw() {
      props.value.sides.forEach((value, index) => {
        const side = element.querySelectorAll(".side")[index];
        const { marked = [], here, there } = value.differences ?? {};
        const strongest = marked.length ? Math.abs(here[marked[0]] - there[marked[0]]) : 1;
        drawWords(value, side.querySelector(".eyebrow"), side.querySelector(".words"), false, place => {
          const at = place - value.given;
          const isMarked = marked.includes(at);
          const word = make(isMarked ? "mark" : "span", "word");
          if (here && at >= 0) word.dataset.place = 1000 * index + at;
          if (isMarked) {
            word.tabIndex = 0;
            word.style.setProperty("--share", Math.abs(here[at] - there[at]) / strongest);
          }
          return word;
        });
        drawDiffer(side.querySelector(".differ"), value, marked, here, there);
      });
    }
    function drawDiffer(box, value, marked, here, there) {
      box.hidden = !marked.length;
      const head = make("tr", "");
      for (const key of ["word", "own_side", "other_side"]) {
        const cell = make("th", "", text(key));
        cell.scope = "col";
        head.append(cell);
      }
      const rows = marked.map(at => {
        const row = make("tr", "");
        row.append(make("td", "", name(value, value.given + at)), make("td", "figure", percent(here[at])), make("td", "figure", percent(there[at])));
        return row;
      });
      const table = make("table", "");
      const caption = make("caption", "", text("differ_heading"));
      table.append(caption, head, ...rows);
      box.replaceChildren(table);
    }
    showTips(element, code => {
      const { differences } = props.value.sides[Math.floor(code / 1000)];
      const at = code % 1000;
      if (differences?.there[at] === undefined) return "";
      return `${text("own_side")}: ${percent(differences.here[at])} · ${text("other_side")}: ${percent(differences.there[at])}`;
    });
    watch("value", () => { if (props.value) draw(); });
    if (props.value) draw();
  }

  return {
    translate,
    review,
    pair,
    /** What the fields of a place stand for as the beginning of a review. */
    header: (...names) => {
      const chosen = names.slice(0, names.findIndex(each => !each) === -1 ? names.length : names.findIndex(each => !each));
      return ["wine review", ...chosen.map(each => each.toLowerCase()), ...(chosen.length === names.length ? [""] : [])].join(" : ").trimEnd();
    },
    seed: () => crypto.getRandomValues(new Uint32Array(1))[0],
    /** Put the settings into the page's address before writing begins. */
    link: (...settings) => {
      const [prompt, model, temperature, top_p, length, seed] = settings;
      history.replaceState(null, "", address(prompt, { model, temperature, top_p, length, seed }));
      return settings;
    },
  };
})();
