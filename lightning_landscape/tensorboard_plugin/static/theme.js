// Light and dark colours: as the system, as TensorBoard, or as chosen.

import { h } from "./elements.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };

const tensorboardBody = () => {
  try { return window.parent !== window ? window.parent.document.body : null; } catch { return null; }
};

/** Return a button that changes the colours of the page; `onChange` is called after each change. */
export function themeButton(root, onChange) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)"), body = tensorboardBody();
  const button = h("button", { type: "button", click: () => paint(NEXT[root.dataset.choice]) });
  const paint = (choice) => {
    root.dataset.choice = choice;
    const isDark = choice === "auto" ? body?.classList.contains("dark-mode") || dark.matches : choice === "dark";
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.textContent = `Colours: ${choice}`;
    onChange();
  };
  const repaint = () => paint(root.dataset.choice);
  dark.addEventListener("change", repaint);
  if (body) new MutationObserver(repaint).observe(body, { attributes: true, attributeFilter: ["class"] });
  paint("auto");
  return button;
}
