/**
 * The page's script, called from gr.HTML's js_on_load. window.pageTexts has the texts by language and key.
 *
 * @typedef {Object} Review what Demo._review returns
 * @property {string[]} words each with its leading space; the first stands for [BOS], the last is "" after the end
 * @property {string[]} shown the words with capitals
 * @property {number} given number of words of the prompt
 * @property {number} header number of words before the running text
 * @property {number[]} ids token ids of the words after the prompt
 * @property {{layer: ?number, head: ?number, steps: Object[]}} [explanation] a step for each word but the first
 */
window.reviewPage = (() => {
  "use strict";

  const query = new URLSearchParams(location.search);
  const requested = [query.get("lang"), navigator.language.slice(0, 2)].find(tag => Object.hasOwn(pageTexts, tag ?? ""));
  const language = requested ?? "en";
  // override the browser's language, because gradio takes the language of its labels from it
  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });
  document.documentElement.lang = language;

  const number = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const oneDigit = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const twoDigits = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const percent = fraction => (fraction < 0.0005 ? "<\u2009" + oneDigit.format(0.001) : oneDigit.format(fraction));

  /** Return a text in the page's language, with values for its {names}. */
  function text(key, values = {}) {
    return pageTexts[language][key].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  }

  /** Set the text of elements with data-text and the label of those with data-label. */
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

  /** Return a new element. */
  function make(tag, className, content = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = content;
    return made;
  }

  const sameText = (one, other) => one && other && JSON.stringify([one.words, one.settings]) === JSON.stringify([other.words, other.settings]);

  /** Return a word's name outside the text, such as "start of the text" for [BOS]. */
  function name(value, position) {
    if (position === 0) return text("start");
    return value.words[position].trim() || text("end");
  }

  /**
   * Fill two elements with a review and return an element for each word. A comma stays on the line of the word before it.
   *
   * @param {Review} value
   * @param {Element} eyebrow receives the header
   * @param {Element} box receives the running text, or all words if raw
   * @param {boolean} raw show the words as the model sees them
   * @param {(position: number, bare: string) => Element} makeWord
   */
  function drawWords(value, eyebrow, box, raw, makeWord) {
    const spans = [];
    eyebrow.replaceChildren();
    box.replaceChildren();
    let unbroken = null;
    value.words.forEach((word, position) => {
      const inHeader = !raw && position < value.header;
      const parent = inHeader ? eyebrow : box;
      const spaced = raw ? ` ${word.trim()}` : value.shown[position];
      let bare = spaced.trimStart();
      if (position === 0) bare = "▸";
      else if (bare === "") bare = "∎";
      else if (inHeader && bare === ":") bare = "·";
      if (raw && !value.unknown.includes(position)) bare = bare.toLowerCase();
      if (unbroken && bare === "·") unbroken.append(" ");
      else if (bare !== spaced || position < 2 || unbroken.parentElement !== parent) {
        unbroken = make("span", "unbroken");
        parent.append(" ", unbroken);
      }
      const span = makeWord(position, bare);
      span.textContent = bare;
      if (position < value.given) span.classList.add("given");
      if (position === 0 || value.words[position] === "") span.classList.add("mark");
      if (value.unknown.includes(position)) span.classList.add("unknown");
      unbroken.append(span);
      spans.push(span);
    });
    eyebrow.hidden = !eyebrow.hasChildNodes();
    return spans;
  }

  // gradio has these messages in English only; the values are the keys of their translations
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

  /** Show tipText(position) beside the word under the pointer or with the focus, unless it is empty. */
  function showTips(element, tipText) {
    const tip = element.querySelector(".tip");
    tip.id = `tip-${++tips}`;
    function show(event) {
      const word = event.target.closest("[data-position]");
      const content = word && tipText(Number(word.dataset.position));
      tip.hidden = !content;
      if (!content) return;
      tip.textContent = content;
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
      // the clipboard needs https and a permission
      const area = make("textarea", "", content);
      area.value = content;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  // the review on the page
  let latest = null;

  /** Whether the review on the page is complete and was written from this prompt and these settings. */
  function isWritten(prompt, settings) {
    const complete = latest && (latest.state === "end" || (latest.state === "length" && latest.ids.length >= latest.settings.length));
    return complete && address(prompt, settings) === address(latest.prompt, latest.settings);
  }

  const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

  /** Return the link to a review. */
  function address(prompt, settings) {
    const link = new URL(location.href);
    for (const [key, value] of Object.entries({ prompt, ...settings })) link.searchParams.set(key, value);
    return link.href;
  }

  /**
   * Show a review, and the explanation of the word that is clicked.
   *
   * @param {Element} element
   * @param {(event: string, data?: Object) => void} trigger call a listener of page.py
   * @param {{value: ?Review, layers: number, heads: number}} props
   * @param {(name: string, callback: () => void) => void} watch
   */
  function review(element, trigger, props, watch) {
    translate(element);
    const find = selector => element.querySelector(selector);
    const [card, box, panel] = [find(".card"), find(".words"), find(".explanation")];
    let drawn = null, spans = [], chosen = null, raw = false, stopped = false;
    const view = { layer: null, head: null };

    const value = () => props.value;
    const written = () => value().words.length - value().given - (value().state === "end" ? 1 : 0);
    const busy = () => value()?.state === "writing" && !stopped;

    function draw() {
      latest = value();
      const fresh = !sameText(drawn, value());
      if (fresh) {
        const continues = drawn && drawn.prompt === value().prompt && drawn.words.length <= value().words.length
          && drawn.words.every((word, position) => word === value().words[position]);
        const before = continues ? spans.length : value().given;
        stopped = stopped && continues;
        chosen = null;
        spans = drawWords(value(), find(".eyebrow"), box, raw, (position, bare) => {
          const word = make(position ? "button" : "span", "word");
          word.dataset.position = position;
          word.tabIndex = -1;
          if (position) word.type = "button";
          if (value().words[position] === "" && position) word.setAttribute("aria-label", text("end"));
          if (busy() && position >= before) {
            word.classList.add("new");
            word.style.animationDelay = `${(position - before) * 15}ms`;
          }
          return word;
        });
        const first = spans[Math.min(value().given, spans.length - 1)];
        if (first) first.tabIndex = 0;
      }
      drawn = value();
      drawState();
      drawExplanation();
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
        ? text("unknown_note", { words: [...new Set(unknown.map(position => words[position].trim()))].join(" ") }) : "";
      drawCopies();
    }

    // gradio shows the queue position in English only
    const block = element.closest(".block");
    let waiting = false;
    new MutationObserver(() => {
      const progress = block.querySelector(".progress-text")?.textContent;
      if (progress !== undefined) {
        const position = /queue: (\d+)/.exec(progress)?.[1];
        const now = position ? text("waiting", { position }) : text("writing");
        if (find(".status").textContent !== now) find(".status").textContent = now;
      } else if (waiting) {
        find(".status").textContent = "";
        if (value()) drawState();
      }
      waiting = progress !== undefined;
    }).observe(block, { childList: true, subtree: true, characterData: true });

    function drawCopies() {
      const { copy_check: found, state } = value();
      find(".copies").hidden = state === "writing" || !found;
      spans.forEach((span, position) => span.classList.toggle("copied", !!found && position >= found.start && position < found.start + found.length));
      if (!found) return;
      const { n, length, words } = found;
      const figures = { length, words, margin: n - 1, reviews: found.reviews.toLocaleString(language) };
      find(".copies-found").textContent = text(found.length ? "copies_some" : "copies_none", figures);
      // bounded, because an index of few reviews has a meaninglessly small error rate
      const odds = number.format(1 / Math.max(found.error_rate, 1e-6));
      find(".copies-error-rate").textContent = text("copies_error_rate", { n, sure: 2 * n - 1, odds });
    }

    function ready() {
      const { explanation, words } = value();
      return explanation && explanation.layer === view.layer && explanation.head === view.head && explanation.steps.length === words.length - 1;
    }

    function ask() {
      const { prompt, ids, settings } = value();
      trigger("explain", { prompt, ids, settings, ...view });
    }

    function select(position) {
      if (!value() || busy() || position < 1 || position >= spans.length) return;
      chosen = position;
      spans.forEach((span, other) => { span.tabIndex = other === position ? 0 : -1; });
      ready() ? drawExplanation() : ask();
    }

    function drawExplanation() {
      if (chosen !== null && value().explanation && !ready()) {
        // the explanation is for an earlier view
        ask();
        return;
      }
      const open = chosen !== null && ready();
      panel.hidden = !open;
      card.classList.toggle("looking", open);
      spans.forEach((span, position) => {
        span.classList.toggle("chosen", open && position === chosen);
        span.classList.toggle("later", open && position > chosen);
        span.classList.toggle("attended", open && position < chosen);
        span.removeAttribute("aria-current");
        span.style.removeProperty("--strength");
      });
      if (!open) return;
      const { words, settings, explanation } = value();
      const step = explanation.steps[chosen - 1];
      const highest = Math.max(...step.attention);
      step.attention.forEach((weight, position) => spans[position].style.setProperty("--strength", weight / highest));
      spans[chosen].setAttribute("aria-current", "true");
      const temperature = number.format(settings.temperature);
      find(".chosen-word").textContent = words[chosen] === "" ? text("end") : text("quoted", { word: words[chosen].trim() });
      find(".chosen-probability").textContent = [
        text("probability_at", { probability: percent(step.probability_at_temperature), temperature }),
        text("probability_before", { probability: percent(step.probability) }),
        step.rank === 1 ? text("likeliest") : text("rank", { rank: step.rank.toLocaleString(language) }),
      ].join(" · ");
      find(".after-name").textContent = text("after", { temperature });
      find(".back").disabled = chosen <= 1;
      find(".forward").disabled = chosen >= words.length - 1;
      drawBars(step);
      drawAttention(step);
    }

    function drawBars(step) {
      const { ids, given, words } = value();
      const own = chosen < given ? null : ids[chosen - given];
      const isChosen = ([index, word]) => (own === null ? word === words[chosen].trim().toLowerCase() : index === own);
      const rows = [...step.next];
      if (!rows.some(isChosen)) rows.push([own, name(value(), chosen), step.probability, step.probability_at_temperature]);
      const highest = Math.max(...rows.map(([, , before, after]) => Math.max(before, after)));
      find(".bars").replaceChildren(...rows.map(row => {
        const [index, word, before, after] = row;
        const mine = isChosen(row);
        const item = make("li", mine ? "chosen" : "");
        const takeable = own !== null && !mine;
        const line = make(takeable ? "button" : "div", "bar");
        const bars = make("span", "both");
        for (const [kind, probability] of [["bar-before", before], ["bar-after", after]]) {
          const bar = make("i", kind);
          bar.style.width = `${(100 * probability) / highest}%`;
          bars.append(bar);
        }
        const shown = word === "∎" ? text("end") : word;
        line.append(make("span", "bar-word", shown), bars, make("span", "figure before", percent(before)), make("span", "figure", percent(after)));
        if (takeable) {
          line.type = "button";
          line.title = text("take", { word: shown });
          line.dataset.id = index;
        }
        const about = [text("before") + " " + percent(before), text("after", { temperature: number.format(value().settings.temperature) }) + " " + percent(after)];
        if (takeable) line.setAttribute("aria-label", [text("take", { word: shown }), ...about].join(", "));
        if (mine) item.setAttribute("aria-current", "true");
        item.append(line);
        return item;
      }));
    }

    function drawAttention(step) {
      const order = step.attention.map((weight, position) => [weight, position]).sort((one, other) => other[0] - one[0]).slice(0, 6);
      find(".attended-words").replaceChildren(...order.map(([weight, position]) => {
        const item = make("li", "");
        const bar = make("i", "");
        bar.style.width = `${(100 * weight) / order[0][0]}%`;
        const track = make("span", "both");
        track.append(bar);
        item.append(make("span", "bar-word", name(value(), position)), track, make("span", "figure", twoDigits.format(weight)));
        return item;
      }));
    }

    function fillView(select, key, count) {
      const mean = new Option(text("mean"), "");
      select.replaceChildren(mean, ...Array.from({ length: count }, (_, index) => new Option(String(index), String(index))));
      select.addEventListener("change", () => {
        view[key] = select.value === "" ? null : Number(select.value);
        if (chosen !== null) ready() ? drawExplanation() : ask();
      });
    }

    fillView(find("select.layer"), "layer", props.layers);
    fillView(find("select.head"), "head", props.heads);
    showTips(element, position => {
      if (value().unknown.includes(position)) return text("unknown");
      if (chosen === null || !ready() || position >= chosen) return "";
      return `${name(value(), position)}: ${text("of_attention", { weight: twoDigits.format(value().explanation.steps[chosen - 1].attention[position]) })}`;
    });

    card.addEventListener("click", event => {
      const word = event.target.closest("button.word");
      if (word) {
        word.focus();
        select(Number(word.dataset.position));
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
      const here = Number(word.dataset.position);
      const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: value().given, End: spans.length - 1 }[event.key];
      if (event.key === "Escape") { chosen = null; drawExplanation(); }
      if (there === undefined || !spans[there]) return;
      event.preventDefault();
      if (event.shiftKey) spans[there].focus();
      else if (there > 0) { spans[there].focus(); select(there); }
    });
    find(".back").addEventListener("click", () => select(chosen - 1));
    find(".forward").addEventListener("click", () => select(chosen + 1));
    find(".close").addEventListener("click", () => { const last = chosen; chosen = null; drawExplanation(); spans[last]?.focus(); });
    find(".again").addEventListener("click", () => trigger("again"));
    find(".stop").addEventListener("click", () => { stopped = true; trigger("stop"); draw(); });
    find(".raw").addEventListener("change", event => {
      raw = event.target.checked;
      const last = chosen;
      drawn = null;
      card.classList.toggle("as-is", raw);
      if (value()) { draw(); if (last !== null) select(last); }
    });
    async function copyFrom(button, key, content) {
      await copy(content);
      button.textContent = text("copied");
      setTimeout(() => { button.textContent = text(key); }, 1500);
    }
    find(".copy").addEventListener("click", event => value()
      && copyFrom(event.currentTarget, "copy", raw ? value().words.map(word => word.trim()).join(" ").trim() : value().shown.join("").trim()));
    find(".link").addEventListener("click", event => value()
      && copyFrom(event.currentTarget, "link", address(value().prompt, value().settings)));
    watch("value", () => { if (value()) draw(); });
    if (value()) draw();
  }

  /** Show two reviews side by side, with marks on the words whose probability differs most. */
  function pair(element, props, watch) {
    translate(element);
    function draw() {
      props.value.sides.forEach((value, index) => {
        const side = element.querySelectorAll(".side")[index];
        const { marked = [], here, there } = value.differences ?? {};
        const strongest = marked.length ? Math.abs(here[marked[0]] - there[marked[0]]) : 1;
        drawWords(value, side.querySelector(".eyebrow"), side.querySelector(".words"), false, position => {
          const at = position - value.given;
          const isMarked = marked.includes(at);
          const word = make(isMarked ? "mark" : "span", "word");
          if (here && at >= 0) word.dataset.position = 1000 * index + at;
          if (isMarked) {
            word.tabIndex = 0;
            word.style.setProperty("--strength", Math.abs(here[at] - there[at]) / strongest);
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
    /** Return a function that builds a prompt from the prefix and the chosen values of the first fields. */
    header: prefix => (...names) => {
      const missing = names.findIndex(each => !each);
      const chosen = missing === -1 ? [...names, ""] : names.slice(0, missing);
      return [...(prefix ? [prefix] : []), ...chosen.map(each => each.toLowerCase())].join(" : ").trimEnd();
    },
    /** Return a random seed. */
    seed: randomSeed,
    /** Return the given seed, or a random one if the review of these settings is on the page already. */
    nextSeed: (prompt, model, temperature, top_p, length, seed) =>
      isWritten(prompt, { model, temperature, top_p, length, seed }) ? randomSeed() : seed,
    /** Scroll to the review where it is below the screen, as on a phone. */
    scrollToReview: (...settings) => {
      const card = document.querySelector("#review .card");
      if (card.getBoundingClientRect().top > innerHeight / 2) card.scrollIntoView({ behavior: "smooth", block: "start" });
      return settings;
    },
    /** Put the settings into the page's URL and return them. */
    link: (...settings) => {
      const [prompt, model, temperature, top_p, length, seed] = settings;
      history.replaceState(null, "", address(prompt, { model, temperature, top_p, length, seed }));
      return settings;
    },
  };
})();
