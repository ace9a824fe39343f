// HTML and SVG elements. A record may hold any text: texts become text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Set the attributes and listeners (values that are functions) of an element, append its children, and return it. */
export const fill = (node, attributes, children = []) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
};

/** Return a new HTML element. */
export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** Return a text as nodes; what stands between backticks is code. */
export const prose = (text) => String(text).split(/`([^`]+)`/).map((part, i) => (i % 2 ? h("code", {}, part) : part));

/** Return a new SVG element. */
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
