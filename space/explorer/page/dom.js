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
 * @param {number} fraction
 * @param {string} [className]
 * @returns {HTMLElement} a horizontal bar
 */
export function makeBar(fraction, className = "") {
  const bar = make("i", className);
  bar.style.width = `${100 * Math.min(Math.max(fraction, 0), 1)}%`;
  return bar;
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
    const at = word.getBoundingClientRect(), frame = area.getBoundingClientRect(), half = tip.offsetWidth / 2;
    tip.style.left = `${Math.min(Math.max(at.left - frame.left + at.width / 2, half + 4), frame.width - half - 4)}px`;
    tip.style.top = `${at.top - frame.top}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const event of ["pointerover", "focusin"]) area.addEventListener(event, show);
  for (const event of ["pointerleave", "focusout"]) area.addEventListener(event, hide);
  area.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}
