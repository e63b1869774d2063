/** Build and find elements. All content is set as text, because names and words may have markup. */

/**
 * @param {string} tag
 * @param {string} [className]
 * @param {string} [content]
 * @returns {any}
 */
export function make(tag, className = "", content = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = content;
  return made;
}

/**
 * @param {string} className
 * @param {string} content
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
export function makeButton(className, content, onClick) {
  const made = make("button", className, content);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/**
 * @param {ParentNode} root
 * @returns {(selector: string) => any} an element of it
 */
export function finder(root) {
  return (selector) => root.querySelector(selector);
}

/**
 * @param {HTMLSelectElement} select
 * @param {[string, string][]} options value and content of each
 * @param {string} chosen value
 */
export function fillSelect(select, options, chosen) {
  select.replaceChildren(...options.map(([value, content]) => new Option(content, value)));
  select.value = chosen;
}

/**
 * Show a text, or an error's message, which is in English whatever the page's language.
 * @param {HTMLElement} element
 * @param {string | Error} message
 */
export function say(element, message) {
  const isError = message instanceof Error;
  element.textContent = isError ? message.message : message;
  element.toggleAttribute("lang", isError);
  if (isError) element.lang = "en";
}

/**
 * @param {HTMLInputElement} input of a number
 * @param {[number, number]} bounds the least and the largest
 */
export function setBounds(input, [least, most]) {
  input.min = String(least);
  input.max = String(most);
}

/**
 * @param {number} fraction
 * @param {string} [className]
 * @returns {HTMLElement} a horizontal bar
 */
export function makeBar(fraction, className = "") {
  const bar = make("i", className);
  bar.style.width = `${100 * Math.min(Math.max(fraction, 0), 1)}%`;
  return bar;
}

/**
 * Fill a row of a list: a name, bars and figures.
 * @param {HTMLElement} row
 * @param {string} name
 * @param {[number, string][]} bars length, 0 to 1, and class of each
 * @param {string[]} figures
 */
export function fillRow(row, name, bars, figures) {
  const both = make("span", "both");
  both.append(...bars.map(([length, kind]) => makeBar(length, kind)));
  row.append(make("span", "bar-word", name), both, ...figures.map((figure) => make("span", "figure", figure)));
}

/**
 * @param {HTMLElement} row
 * @param {string} [className]
 * @returns {HTMLElement} an item of a list with the row
 */
export function makeItem(row, className = "") {
  const item = make("li", className);
  item.append(row);
  return item;
}

/**
 * Scroll an element to the top of the screen, smoothly unless the visitor wants no motion.
 * @param {Element | null} element
 */
export function scrollToTop(element) {
  const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  element?.scrollIntoView({ behavior: smooth ? "smooth" : "auto", block: "start" });
}

/** @param {string} content */
export async function copy(content) {
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    // the clipboard needs https and a permission
    const area = make("textarea");
    area.value = content;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/**
 * Place a tip above a point, within the sides of its area.
 * @param {HTMLElement} tip
 * @param {HTMLElement} area positioned; contains the tip
 * @param {number} x in the window
 * @param {number} y in the window
 */
export function placeTip(tip, area, x, y) {
  const frame = area.getBoundingClientRect(), half = tip.offsetWidth / 2;
  tip.style.left = `${Math.min(Math.max(x - frame.left, half + 4), frame.width - half - 4)}px`;
  tip.style.top = `${y - frame.top}px`;
}

/**
 * Show tipText(position) beside the element with data-position under the pointer or with the focus, unless it is empty.
 * @param {HTMLElement} area positioned; contains the elements and one with the class tip
 * @param {(position: number) => string} tipText
 */
export function showTips(area, tipText) {
  const tip = /** @type {HTMLElement} */ (area.querySelector(".tip"));
  tip.id = `tip-${document.querySelectorAll(".tip[id]").length}`;
  const show = (/** @type {Event} */ event) => {
    const word = /** @type {HTMLElement} */ (event.target).closest("[data-position]");
    const content = word ? tipText(Number(/** @type {HTMLElement} */ (word).dataset.position)) : "";
    tip.hidden = !content;
    if (!word || !content) return;
    tip.textContent = content;
    word.setAttribute("aria-describedby", tip.id);
    const { left, width, top } = word.getBoundingClientRect();
    placeTip(tip, area, left + width / 2, top);
  };
  const hide = () => { tip.hidden = true; };
  for (const event of ["pointerover", "focusin"]) area.addEventListener(event, show);
  for (const event of ["pointerleave", "focusout"]) area.addEventListener(event, hide);
  area.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}
